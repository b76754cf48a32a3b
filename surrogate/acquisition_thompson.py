"""Thompson sampling of whole fronts: each member of a batch is taken from the front of a posterior draw of its own."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from surrogate.compiled import in_parallel
from surrogate.design import initial_design
from surrogate.history import FittedSurrogate, History
from surrogate.output_space import OutputSpace
from surrogate.pareto import non_dominated, thin

Source = Callable[[Tensor, int, int], Tensor]
"""Points, n x D, how many, and a seed -> joint draws of a task's utilities, draws x n."""

# Points at which the posterior is drawn: half of them spread over the box, half around the best trials. Most of a batch's time goes with
# them, and fronts from 128, 192 and 256 did not differ beyond the spread of five seeds.
POOL = 192
# Trials whose draws the front's points keep away from.
KEPT = 32
NEAR = 0.1


def propose_by_draws(
    histories: Sequence[History],
    fits: Sequence[FittedSurrogate],
    pending: Tensor,
    q: int,
    low: float,
    high: float,
    seed: int,
    gram: Tensor | None,
) -> Tensor:
    """`q` points, q x D: of each draw's front the point whose scores lie farthest from the trials', pending and chosen ones included.

    Outputs are drawn where the fit is an OutputSpace, else linked scores of a Gaussian process.
    """
    elite = _elite(histories)
    known = torch.cat([elite, pending])
    pool = torch.cat([known, candidates(elite, low, high, seed)])
    taken = torch.arange(len(pool)) < len(known)
    sources = [_source(fit, history, gram, seed) for fit, history in zip(fits, histories, strict=True)]

    def draw(task: int) -> Tensor:
        return sources[task](pool, q, _seed(seed, task))

    # BoTorch keeps settings that threads would share
    side_by_side = all(isinstance(fit, OutputSpace) for fit in fits)
    draws = torch.stack(in_parallel(draw, range(len(fits))) if side_by_side else [draw(task) for task in range(len(fits))], 2)
    chosen: list[int] = []
    for scores in draws:
        chosen.append(_farthest_on_front(scores, taken))
        taken[chosen[-1]] = True
    return pool[chosen]


def candidates(elite: Tensor, low: float, high: float, seed: int) -> Tensor:
    """POOL points, n x D: a design of the box, and points between the rows of `elite` (e x D) and around them."""
    draw, dimension = np.random.default_rng(seed), elite.shape[1]
    spread = initial_design(dimension, 1, POOL // 2, seed, low, high)
    ends = torch.from_numpy(draw.integers(len(elite), size=(2, POOL // 2)))
    share = torch.from_numpy(draw.uniform(size=(POOL // 2, 1)))
    step = torch.from_numpy(draw.normal(scale=NEAR * (high - low), size=(POOL // 2, dimension)))
    around = elite[ends[0]] + share * (elite[ends[1]] - elite[ends[0]]) + step
    return torch.cat([spread, around.clamp(low, high)])


def _elite(histories: Sequence[History]) -> Tensor:
    """Trials that no other beats, at most KEPT."""
    utilities = torch.stack([history.scores if history.scale.maximize else -history.scores for history in histories], 1)
    best = non_dominated(utilities).nonzero()[:, 0]
    return histories[0].coefficients[best[thin(utilities[best], KEPT)]]


def _farthest_on_front(scores: Tensor, taken: Tensor) -> int:
    """The free row on the front of `scores`, n x T, that is farthest from the `taken` rows; tasks by their range on the front.

    A free row off the front where the taken ones hold all of it.
    """
    front = non_dominated(scores)
    free = (front & ~taken).nonzero()[:, 0]
    if not len(free):
        free = (~taken).nonzero()[:, 0]
    extent = (scores[front].amax(0) - scores[front].amin(0)).clamp_min(1e-9)
    distances = torch.cdist(scores[free] / extent, scores[taken] / extent).amin(1)
    return int(free[distances.argmax()])


def _source(fit: FittedSurrogate, history: History, gram: Tensor | None, seed: int) -> Source:
    if not isinstance(fit, OutputSpace):
        from surrogate.acquisition_processes import draw_utilities, process_of  # BoTorch alone takes seconds

        return partial(draw_utilities, process_of(fit, history, gram, seed))
    sign = 1.0 if history.scale.maximize else -1.0
    return lambda points, draws, drawn: sign * fit.draw(points, draws, drawn)


def _seed(seed: int, task: int) -> int:
    return int(np.random.SeedSequence([seed, task]).generate_state(1)[0])
