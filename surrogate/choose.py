"""Choosing one merge: what the user wants from the scores, answered by coefficients from the surrogates alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from surrogate.aims import Aim, Constraint, alone, goal_of, limits_of
from surrogate.design import screening_points
from surrogate.epigraph import NO_LIMITS, Goal, Limits, descend
from surrogate.errors import InfeasibleError, InvalidRequestError
from surrogate.history import FittedSurrogate
from surrogate.landscape import Landscape, scored_landscape
from surrogate.scalarise import Range

SCREENED = 1024
STARTS = 3


def choose(
    fits: Mapping[str, FittedSurrogate],
    directions: Mapping[str, bool],
    aim: Aim,
    constraints: Sequence[Constraint],
    low: float,
    high: float,
    dimension: int,
    seed: int = 0,
) -> Tensor:
    """The coefficients in [low, high]^D that serve `aim` best and satisfy every constraint, by the smoothed predicted scores.

    `fits`: a surrogate a task, in the order of the aim's vectors; `directions`: whether larger is better, per task.
    Deterministic given `seed`; milliseconds for quadratics. Returns D. Raises InfeasibleError with the best reachable scores
    when the constraints cannot be met, InvalidRequestError for an empty box, unknown tasks or vectors of another length.
    """
    if not low < high:
        raise InvalidRequestError(f"the box [{low}, {high}] is empty")
    tasks = list(fits)
    signs = torch.tensor([1.0 if directions[task] else -1.0 for task in tasks], dtype=torch.float64)
    landscape = scored_landscape(list(fits.values()))
    pool = screening_points(dimension, SCREENED, seed, low, high)
    heights = landscape.heights(pool)
    extent = Range(heights.amax(0), (heights.amax(0) - heights.amin(0)).clamp_min(1e-9))
    goal = goal_of(aim, tasks, signs, extent)
    limits = limits_of(constraints, tasks, signs, extent.unit)
    search = _Search(landscape, limits, extent, low, high)
    feasible = search.enter(pool, heights)
    if not len(feasible):
        raise _infeasible(constraints, search.reachable(pool, heights) * signs[limits.tasks])
    return search.best(goal, feasible)


@dataclass(frozen=True)
class _Search:
    landscape: Landscape
    limits: Limits
    extent: Range
    low: float
    high: float

    def best(self, goal: Goal, feasible: Tensor) -> Tensor:
        """The best point within the limits that is reached from the most promising of `feasible`, n x D."""
        starts = feasible[goal.loss(self.landscape.heights(feasible)).argsort()[:STARTS]]
        candidates = torch.cat([self._descend(self.landscape, goal, self.limits, starts), starts])
        heights = self.landscape.heights(candidates)
        # a start is feasible: an end outside the limits never wins
        return candidates[torch.where(self.limits.hold(heights), goal.loss(heights), torch.inf).argmin()]

    def enter(self, pool: Tensor, heights: Tensor) -> Tensor:
        """Points within the limits: those of `pool`, or else the ends of the ways in. Returns n x D, n = 0 where none is found."""
        within = self.limits.hold(heights)
        if bool(within.any()):
            return pool[within]
        slack = self.limits.slack(heights)
        starts = pool[slack.amin(1).argsort(descending=True)[:STARTS]]
        every = torch.ones(slack.shape[1], dtype=torch.float64)
        goal = Goal(every, torch.zeros_like(every), Range(torch.zeros_like(every), every))
        ends = self._descend(_Slack(self.landscape, self.limits), goal, NO_LIMITS, starts)
        return ends[self.limits.hold(self.landscape.heights(ends))]

    def reachable(self, pool: Tensor, heights: Tensor) -> Tensor:
        """For each limit the height of its task that goes farthest its way when no other limit stands. Returns k."""
        return torch.stack([self._farthest(limit, pool, heights) for limit in range(len(self.limits.tasks))])

    def _farthest(self, limit: int, pool: Tensor, heights: Tensor) -> Tensor:
        task, sign = int(self.limits.tasks[limit]), self.limits.signs[limit]
        pull = sign * alone(task, heights.shape[1])
        starts = pool[(sign * heights[:, task]).argsort(descending=True)[:STARTS]]
        ends = self._descend(self.landscape, Goal(torch.zeros_like(pull), pull, self.extent), NO_LIMITS, starts)
        reached = self.landscape.heights(torch.cat([ends, starts]))[:, task]
        return reached[(sign * reached).argmax()]

    def _descend(self, landscape: Landscape, goal: Goal, limits: Limits, starts: Tensor) -> Tensor:
        return torch.stack([descend(landscape, goal, limits, start, self.low, self.high) for start in starts])


@dataclass(frozen=True)
class _Slack:
    """The slack of every limit as a landscape of its own."""

    landscape: Landscape
    limits: Limits

    def heights(self, coefficients: Tensor) -> Tensor:
        return self.limits.slack(self.landscape.heights(coefficients))

    def slopes(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        heights, slopes = self.landscape.slopes(coefficients)
        stretch = (self.limits.signs / self.limits.units)[:, None]
        return self.limits.slack(heights), stretch * slopes[:, self.limits.tasks]


def _infeasible(constraints: Sequence[Constraint], reachable: Tensor) -> InfeasibleError:
    best = tuple(reachable.tolist())
    said = [_sentence(constraint, score) for constraint, score in zip(constraints, best, strict=True)]
    return InfeasibleError(f"no coefficients of the box satisfy the constraints: {'; '.join(said)}", best)


def _sentence(constraint: Constraint, best: float) -> str:
    asked = f"{constraint.task} {'>=' if constraint.at_least else '<='} {constraint.bound:g}"
    met = best >= constraint.bound if constraint.at_least else best <= constraint.bound
    return f"{asked} (best reachable {best:.4g}{', when it stands alone' if met else ''})"
