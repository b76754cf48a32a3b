"""Gaussian processes of scores, for acquisitions that need their joint posterior."""

import torch
from botorch.utils.sampling import manual_seed
from torch import Tensor

from surrogate.gp import GaussianProcess, fit_gp, numerical_noise_ignored
from surrogate.history import FittedSurrogate, History


def process_of(fit: FittedSurrogate, history: History, gram: Tensor | None, seed: int) -> GaussianProcess:
    """`fit` where it is a Gaussian process of scores, else one fitted to the same trials."""
    return fit if isinstance(fit, GaussianProcess) else fit_gp(history, gram, seed)


def utility_of(process: GaussianProcess, linked: Tensor) -> Tensor:
    """Linked scores as utilities; any shape."""
    score = process.link.inverse(linked)
    return score if process.scale.maximize else -score


def draw_utilities(process: GaussianProcess, points: Tensor, draws: int, seed: int) -> Tensor:
    """Joint draws of the utilities at `points`, n x D, without the noise of new trials; draws x n."""
    with torch.no_grad(), manual_seed(seed), numerical_noise_ignored():
        return utility_of(process, process.model.posterior(points).rsample(torch.Size([draws]))[..., 0])
