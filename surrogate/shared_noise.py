"""Observation noise of proportions for GPyTorch: known in shape from the number of examples, in size only from above."""

from typing import Any

import torch
from gpytorch import Module
from gpytorch.constraints import Interval
from gpytorch.likelihoods import FixedNoiseGaussianLikelihood
from gpytorch.priors import LogNormalPrior
from linear_operator.operators import DiagLinearOperator, LinearOperator, ZeroLinearOperator
from torch import Tensor

SHARE_RANGE = (1e-3, 1.0)
# Log-normal prior of the share: a quarter, within a factor of three.
SHARE_LOCATION, SHARE_SPREAD = -1.4, 1.1


class SharedExamplesNoise(Module):  # type: ignore[misc]
    """Binomial variances (K) times one learnt share in (0, 1].

    All trials are scored on the same examples, so most of the binomial error is common to them and no noise between them.
    """

    def __init__(self, variances: Tensor) -> None:
        super().__init__()
        self.register_buffer("variances", variances)
        self.register_parameter("raw_share", torch.nn.Parameter(torch.zeros(1, dtype=variances.dtype)))
        self.register_constraint("raw_share", Interval(*SHARE_RANGE))
        self.register_prior("share_prior", LogNormalPrior(SHARE_LOCATION, SHARE_SPREAD), _share_of)

    @property
    def share(self) -> Tensor:
        share: Tensor = self.raw_share_constraint.transform(self.raw_share)
        return share

    @property
    def noise(self) -> Tensor:
        noise: Tensor = self.variances * self.share
        return noise

    def forward(self, *params: Any, shape: torch.Size | None = None, noise: Tensor | None = None, **_: Any) -> LinearOperator:
        """The noise of the trials, or of new points whose binomial variances are given as `noise`; none for other points."""
        if noise is not None:
            return DiagLinearOperator(noise * self.share)
        sizes = _sizes(params[0]) if shape is None else shape
        return DiagLinearOperator(self.noise) if sizes[-1] == len(self.variances) else ZeroLinearOperator()


def _sizes(inputs: Tensor | list[Tensor]) -> torch.Size:
    points = inputs if isinstance(inputs, Tensor) else inputs[0]
    return points.shape[:-1]


def shared_examples_likelihood(variances: Tensor) -> FixedNoiseGaussianLikelihood:
    """A likelihood whose noise is `variances` (K) times one learnt share."""
    likelihood = FixedNoiseGaussianLikelihood(noise=variances)
    likelihood.noise_covar = SharedExamplesNoise(variances)
    return likelihood


def _share_of(noise: SharedExamplesNoise) -> Tensor:
    return noise.share
