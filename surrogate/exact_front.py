"""The front of exact surrogates: scores cost arithmetic only, so many are looked at, and the real metrics decide.

Global: Sobol and simplex points of the whole box, and points climbed on the smoothed scores. Local: children of neighbouring optima,
kept where they go farthest in one of many directions of the scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from surrogate.design import initial_design
from surrogate.errors import InvalidRequestError
from surrogate.exact import Exact
from surrogate.figures import reference_point
from surrogate.pareto import non_dominated
from surrogate.solve import scalarised_candidates
from surrogate.volume import cover, even_directions, farthest, scale_to_range

# A direction's neighbours, among whose points its own finds a mate.
NEIGHBOURS = 16
# Children leave the line between their parents by 10^-3 to 10^-0.7 of the box.
STEPS = (-3.0, -0.7)


@dataclass(frozen=True)
class Effort:
    """What a front may cost, in vectors scored: `sampled` at first, then `children` in each of `rounds`. `directions`: how fine it is."""

    sampled: int
    directions: int
    rounds: int
    children: int


def effort_for(quick: bool, dimension: int, points: int) -> Effort:
    """As much as the box and the front have room for.

    `quick`: the score is plain accuracy, a product and a maximum; what other metrics do to outputs takes ten to a hundred times as long.
    """
    directions = min(1024, max(128, 4 * points))
    if quick:
        sampled = 1 << min(10 + dimension, 15)
        return Effort(sampled, directions, 16, sampled // 8)
    return Effort(1 << 11, min(256, directions), 8, 1 << 8)


def find_exact_front(fits: Sequence[Exact], low: float, high: float, dimension: int, points: int, seed: int) -> Tensor:
    """Coefficients in [low, high]^D of which none beats another by the exact scores, chosen for their hypervolume.

    The best found for every task is among them where those are at most a quarter of `points`. Deterministic given `seed`.
    Returns n x D, n <= `points`. Raises InvalidRequestError for no task, an empty box or no point.
    """
    if not fits or points < 1 or not low < high:
        raise InvalidRequestError(f"a front needs a task, a point and a box; got {len(fits)}, {points} and [{low}, {high}]")
    effort = effort_for(all(fit.quick for fit in fits), dimension, points)
    found = _Search(fits, low, high, seed, even_directions(len(fits), effort.directions, seed)).run(dimension, effort)
    scores = exact_utilities(fits, found)
    efficient = non_dominated(scores)
    chosen: Tensor = found[efficient][cover(scores[efficient], points)]
    return chosen


def exact_utilities(fits: Sequence[Exact], coefficients: Tensor) -> Tensor:
    """The exact scores at n x D, turned so that larger is better: n x T."""
    return torch.stack([fit.score(coefficients) * (1.0 if fit.scale.maximize else -1.0) for fit in fits], 1)


@dataclass(frozen=True)
class _Search:
    fits: Sequence[Exact]
    low: float
    high: float
    seed: int
    directions: Tensor

    def run(self, dimension: int, effort: Effort) -> Tensor:
        """The best points found, one a direction and one a task at most; n x D."""
        generator = torch.Generator().manual_seed(self.seed)
        sample = initial_design(dimension, 1, effort.sampled, self.seed, self.low, self.high)
        climbed = scalarised_candidates(self.fits, self.low, self.high, dimension, len(self.directions) // 4, self.seed)
        points = torch.cat([sample, climbed])
        scores = exact_utilities(self.fits, points)
        near = (self.directions @ self.directions.T).topk(min(NEIGHBOURS, len(self.directions)), 1).indices
        for _ in range(effort.rounds):
            best = self._best(scores)
            young = self._children(points[best], near, effort.children, generator)
            kept = torch.unique(torch.cat([best, scores.argmax(0)]))
            points, scores = torch.cat([points[kept], young]), torch.cat([scores[kept], exact_utilities(self.fits, young)])
        return points[torch.unique(torch.cat([self._best(scores), scores.argmax(0)]))]

    def _best(self, scores: Tensor) -> Tensor:
        """For every direction the row of `scores` that goes farthest; their extent is what the next comparison is scaled by."""
        first = farthest(scale_to_range(scores), self.directions)
        rows = torch.unique(first)
        reference, ideal = reference_point(scores[rows]), scores[rows].amax(0)
        extent = torch.where(ideal > reference, ideal - reference, 1.0)
        return farthest((scores - reference) / extent, self.directions)

    def _children(self, parents: Tensor, near: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Between and around pairs of `parents`, one a direction, that are best in directions near each other; count x D."""
        one = torch.randint(len(near), (count,), generator=generator)
        mate = near[one, torch.randint(near.shape[1], (count,), generator=generator)]
        share = torch.rand(count, 1, generator=generator, dtype=torch.float64) * 1.5 - 0.25
        size = 10 ** (STEPS[0] + (STEPS[1] - STEPS[0]) * torch.rand(count, 1, generator=generator, dtype=torch.float64))
        noise = torch.randn(count, parents.shape[1], generator=generator, dtype=torch.float64)
        moved = torch.rand(count, parents.shape[1], generator=generator) < 0.5
        step = (self.high - self.low) * size * noise * moved
        return (parents[one] + share * (parents[mate] - parents[one]) + step).clamp(self.low, self.high)
