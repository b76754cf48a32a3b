"""The first trials: where to measure before anything is known."""

import numpy as np
import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from surrogate.errors import InvalidRequestError

# Merges live at a sum of coefficients between these, while points of a large box lie near N / 2.
SIMPLEX_TOTAL = (0.5, 3.0)
# From here on a Sobol point lies near the middle of the box in most directions.
MANY_COORDINATES = 16


def initial_design(tuned: int, groups: int, count: int, seed: int, low: float, high: float) -> Tensor:
    """`count` distinct coefficient vectors of the box [low, high]^D, D = tuned x groups, tuned model after tuned model.

    First the origin and each tuned model alone (all its groups at 1), where the box holds them; then a scrambled Sobol sequence
    that gives `simplex_share` of its rows to scaled simplex points. Three levels or more on every axis from tuned + 2 rows on.
    A longer design with the same seed begins with the shorter one. Returns count x D.
    Raises InvalidRequestError for an empty box or counts below one.
    """
    if min(tuned, groups, count) < 1:
        raise InvalidRequestError("a design needs at least one tuned model, one group and one trial")
    if not -float("inf") < low < high < float("inf"):
        raise InvalidRequestError(f"the box [{low}, {high}] is empty or not finite")
    corners = _corners(tuned, groups, low, high)[:count]
    rest = count - len(corners)
    rows = low + (high - low) * sobol_points(tuned * groups, rest, seed)
    if high > 0:
        share = simplex_share(tuned)
        turn = (torch.arange(1, rest + 1) * share).floor() > (torch.arange(rest) * share).floor()
        points = _simplex_points(tuned, groups, int(turn.sum()), seed, high).clamp(low, high)
        moved = (points > low).any(1)  # those that lie below the box altogether would all become its corner
        rows[turn.nonzero().flatten()[moved]] = points[moved]
    return torch.cat([corners, rows])


def simplex_share(tuned: int) -> float:
    """Share of the rows after the corners that lie on scaled simplices: none for two tuned models, half from six on."""
    return min(0.5, max(0, tuned - 2) / 8)


def _corners(tuned: int, groups: int, low: float, high: float) -> Tensor:
    alone = torch.eye(tuned, dtype=torch.float64).repeat_interleave(groups, 1)
    rows = torch.cat([torch.zeros(1, tuned * groups, dtype=torch.float64), alone])
    return rows[((rows >= low) & (rows <= high)).all(1)]


def sobol_points(dimension: int, count: int, seed: int) -> Tensor:
    """The first `count` >= 0 points of a scrambled Sobol sequence in [0, 1]^`dimension`. Returns count x dimension."""
    if count == 0:
        return torch.zeros(0, dimension, dtype=torch.float64)
    engine = SobolEngine(dimension, scramble=True, seed=seed)  # type: ignore[no-untyped-call]
    return engine.draw(count, dtype=torch.float64)


def screening_points(dimension: int, count: int, seed: int, low: float, high: float) -> Tensor:
    """Points of the box [low, high]^`dimension` from which searches on surrogates begin, count x dimension.

    A Sobol sequence; of many coordinates every other row is drawn towards the origin by a share of its own, since nearly all of a large
    box is far from where merges live, and from where anything was measured.
    """
    points = low + (high - low) * sobol_points(dimension, count, seed)
    if dimension >= MANY_COORDINATES and low <= 0.0 <= high:
        shares = torch.from_numpy(np.random.default_rng(seed).uniform(size=(len(points[1::2]), 1)))
        points[1::2] *= shares
    return points


def _simplex_points(tuned: int, groups: int, count: int, seed: int, high: float) -> Tensor:
    """Even Dirichlet directions over the tuned models, one a group, scaled to a common total that keeps them below `high`."""
    draws, totals = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])
    directions = torch.from_numpy(draws.standard_exponential((count, groups, tuned)))
    directions /= directions.sum(2, keepdim=True)
    total = torch.from_numpy(totals.uniform(*SIMPLEX_TOTAL, count))[:, None, None]
    within = high / directions.amax(2, keepdim=True)
    return (directions * torch.minimum(total, within)).transpose(1, 2).reshape(count, tuned * groups)
