"""Where to measure next: batches of coefficients from what was measured and what is being measured."""

from collections.abc import Sequence
from typing import Literal, assert_never

import numpy as np
import torch
from torch import Tensor

from surrogate.acquisition_bins import propose_by_bins
from surrogate.acquisition_thompson import propose_by_draws
from surrogate.design import sobol_points
from surrogate.errors import InvalidRequestError
from surrogate.history import FittedSurrogate, History

Acquisition = Literal["qlognehvi", "bins", "output"]

# Nearer than this share of the box's width two trials would measure the same.
SAME = 1e-3


def propose_batch(
    name: Acquisition,
    histories: Sequence[History],
    fits: Sequence[FittedSurrogate],
    pending: Tensor,
    q: int,
    low: float,
    high: float,
    seed: int,
    gram: Tensor | None = None,
) -> Tensor:
    """`q` coefficient vectors of the box [low, high]^D that are worth measuring next; none repeats a trial. Returns q x D.

    `histories`, `fits`: one a task, over the same trials. `pending`: p x D, proposed and not yet measured. `gram`: D x D, of the task
    vectors, for the processes that an acquisition has to fit itself. `qlognehvi`: noisy expected hypervolume improvement (Daulton
    et al. 2021; Ament et al. 2023); `bins`: where the surrogates err, by angle (MAP, arXiv 2406.07529); `output`: fronts of posterior
    draws of the outputs. Deterministic given `seed`. Raises InvalidRequestError for no task, an empty box or no point; FitFailedError.
    """
    if not histories or q < 1 or not low < high:
        raise InvalidRequestError(f"a batch needs a task, a point and a box; got {len(histories)}, {q} and [{low}, {high}]")
    match name:
        case "bins":
            found = propose_by_bins(histories, fits, q, low, high, seed)
        case "output":
            found = propose_by_draws(histories, fits, pending, q, low, high, seed, gram)
        case "qlognehvi":
            from surrogate.acquisition_improvement import propose_by_improvement  # BoTorch alone takes seconds

            found = propose_by_improvement(histories, fits, pending, q, low, high, seed, gram)
        case _:
            assert_never(name)
    return _without_repeats(found, torch.cat([histories[0].coefficients, pending]), low, high, seed)


def batch_seed(seed: int, trials: int) -> int:
    """The seed of the batch that follows `trials` trials."""
    return int(np.random.SeedSequence([seed, trials]).generate_state(1)[0])


def _without_repeats(found: Tensor, known: Tensor, low: float, high: float, seed: int) -> Tensor:
    """`found`, q x D, with Sobol points in place of those that lie on a row of `known` or on each other."""
    spare = iter(low + (high - low) * sobol_points(found.shape[1], 2 * len(found) + len(known), seed))
    kept: list[Tensor] = []
    for point in found:
        while float((torch.cat([known, *(one[None] for one in kept)]) - point).abs().amax(1).min()) < SAME * (high - low):
            point = next(spare)
        kept.append(point)
    return torch.stack(kept)
