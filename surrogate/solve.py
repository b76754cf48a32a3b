"""The amortised front: Pareto-optimal coefficients of fitted surrogates, without a single evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

import torch
from torch import Tensor

from surrogate.concave import all_concave, mixture_peaks
from surrogate.design import screening_points
from surrogate.errors import InvalidRequestError
from surrogate.evolve import evolve_front
from surrogate.figures import preference_weights
from surrogate.history import FittedSurrogate
from surrogate.landscape import Landscape, LinkedQuadratics, linked_landscape
from surrogate.pareto import non_dominated
from surrogate.scalarise import Range, best_starts, climb
from surrogate.volume import cover

Solver = Literal["scalarised", "nsga3"]

SCREENED = 512
# Small fronts are picked from the candidates of a front of so many points.
FEWEST = 40


@dataclass(frozen=True)
class Effort:
    """What finding a front may cost: `preferences` climbed for each of its points, at most `climbed`, for `steps` steps each."""

    preferences: int
    climbed: int
    steps: int


# a quadratic costs microseconds a point; other surrogates apply the metric to predicted outputs, so fewer preferences are climbed and
# mixtures of neighbours fill the gaps
QUADRATIC = Effort(4, 1 << 20, 40)
GENERAL = Effort(2, 96, 30)


def solve_front(
    fits: Sequence[FittedSurrogate],
    low: float,
    high: float,
    dimension: int,
    points: int,
    seed: int,
    solver: Solver = "scalarised",
) -> Tensor:
    """Coefficients in [low, high]^D of which none is predicted to beat another, those that dominate most of the predicted scores.

    `fits`: one a task. Deterministic given `seed`. Returns n x D, n <= `points`.
    Raises InvalidRequestError for no task, an empty box or no point.
    """
    if not fits or points < 1 or not low < high:
        raise InvalidRequestError(f"a front needs a task, a point and a box; got {len(fits)}, {points} and [{low}, {high}]")
    match solver:
        case "scalarised":
            candidates = scalarised_candidates(fits, low, high, dimension, max(points, FEWEST), seed)
        case "nsga3":
            candidates = evolve_front(fits, low, high, dimension, points, seed)
        case _:
            assert_never(solver)
    utilities = predicted_utilities(fits, candidates)
    efficient = non_dominated(utilities)
    return candidates[efficient][cover(utilities[efficient], points)]


def predicted_utilities(fits: Sequence[FittedSurrogate], coefficients: Tensor) -> Tensor:
    """The utility of every task at `coefficients`, n x D: returns n x T, larger is better."""
    with torch.no_grad():
        return torch.stack([fit.utility(coefficients) for fit in fits], 1)


def scalarised_candidates(fits: Sequence[FittedSurrogate], low: float, high: float, dimension: int, points: int, seed: int) -> Tensor:
    """Optima of many preferences at once, n x D: exact ones where all quadratics are concave, climbed ones otherwise."""
    landscape = linked_landscape(fits)
    effort = QUADRATIC if isinstance(landscape, LinkedQuadratics) else GENERAL
    wanted = effort.preferences * points
    weights = preference_weights(len(fits), min(wanted, effort.climbed), seed)
    if isinstance(landscape, LinkedQuadratics) and all_concave(landscape):
        return mixture_peaks(landscape, torch.cat([weights, _corner_weights(len(fits))]), low, high)
    pool = screening_points(dimension, SCREENED, seed, low, high)
    heights = landscape.heights(pool)
    peaks, extent = survey(landscape, pool, heights, low, high, effort.steps)
    start = pool[best_starts(heights, weights, extent)]
    climbed = torch.cat([peaks, climb(landscape, start, weights, extent, low, high, effort.steps)])
    return torch.cat([climbed, mix_neighbours(climbed, landscape.heights(climbed) / extent.unit, wanted - len(weights), seed)])


def mix_neighbours(points: Tensor, scores: Tensor, count: int, seed: int) -> Tensor:
    """`count` mixtures of points that lie next to each other by `scores`: a Pareto set is a surface, piece by piece.

    `points`: n x D; `scores`: n x T, one unit a task. Returns count x D.
    """
    distances = torch.cdist(scores, scores).fill_diagonal_(torch.inf)
    nearest = distances.argsort(1)[:, : min(2 * scores.shape[1], len(points) - 1)]
    generator = torch.Generator().manual_seed(seed)
    one = torch.arange(max(count, 0)) % len(points)
    other = nearest[one, torch.randint(nearest.shape[1], one.shape, generator=generator)]
    share = torch.rand(len(one), 1, generator=generator, dtype=points.dtype)
    return share * points[one] + (1 - share) * points[other]


def survey(landscape: Landscape, pool: Tensor, heights: Tensor, low: float, high: float, steps: int) -> tuple[Tensor, Range]:
    """Each task's own best point, T x D, and the range between the best and what the others' best points leave."""
    spread = (heights.amax(0) - heights.amin(0)).clamp_min(1e-12)
    corners = _corner_weights(heights.shape[1])
    start = pool[heights.argmax(0)]
    peaks = climb(landscape, start, corners, Range(heights.amax(0), spread), low, high, steps)
    reached = torch.cat([landscape.heights(peaks), heights[heights.argmax(0)]])
    ideal = reached.amax(0)
    return peaks, Range(ideal, (ideal - reached.amin(0)).clamp_min(1e-9 * spread))


def _corner_weights(tasks: int) -> Tensor:
    """One task each, the others at a thousandth: enough to choose among that task's ties."""
    share = torch.full((tasks, tasks), 1e-3, dtype=torch.float64).fill_diagonal_(1.0)
    return share / share.sum(1, keepdim=True)
