"""MAP's adaptive sampling (arXiv 2406.07529): measure more in the directions where the surrogates err."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from surrogate.history import FittedSurrogate, History

Numbers = NDArray[np.float64]
Angles = NDArray[np.int64]

# Bins an angle: 4 below 4 coefficients, 2 from there on, for their number is a power of the dimension.
FINE, COARSE, FIRST_COARSE = 4, 2, 4
RADII = (0.2, 0.8)
# Of the softmax over bin scores, which are in units of the tasks' variances.
TEMPERATURE = 0.25
BOOTSTRAPS = 100
# Draws until an empty bin is found, where nearly all are occupied.
TRIES = 64


def propose_by_bins(histories: Sequence[History], fits: Sequence[FittedSurrogate], q: int, low: float, high: float, seed: int) -> Tensor:
    """`q` points: a bin drawn by the error in it, then uniform in its angles, its radius uniform in [.2, .8] box widths. q x D.

    Angles are hyperspherical around the corner `low` of the box. A bin's score is the mean squared leave-one-out error of the trials in
    it, tasks by their variance, plus half its bootstrap deviation; bins are drawn by the softmax of their scores. Points outside the
    box are drawn back along their ray.
    """
    draw = np.random.default_rng(seed)
    unit = ((histories[0].coefficients - low) / (high - low)).numpy()
    grid = _Grid(_bins_an_angle(unit.shape[1]), unit.shape[1] - 1)
    occupied = _score_bins(grid.bins_of(unit), _squared_errors(histories, fits).numpy(), draw)
    rays = np.stack([_direction(grid.angles_in(_draw_bin(grid, occupied, draw), draw)) for _ in range(q)])
    radii = draw.uniform(*RADII, (q, 1)) / np.maximum(1.0, rays.max(1, keepdims=True) * RADII[1])
    return low + (high - low) * torch.from_numpy(rays * radii).clamp(0.0, 1.0)


@dataclass(frozen=True)
class _Grid:
    """`bins` of equal width on each of `angles` angles of [0, π/2]."""

    bins: int
    angles: int

    def bins_of(self, points: Numbers) -> Angles:
        """Place of every point (n x D) on every angle, n x angles; the origin points nowhere and lies in the first bin."""
        tails = np.sqrt(np.cumsum(points[:, ::-1] ** 2, 1))[:, ::-1]
        angles = np.arctan2(tails[:, 1:], points[:, :-1])
        return np.clip((angles / (np.pi / 2) * self.bins).astype(np.int64), 0, self.bins - 1)

    def angles_in(self, place: tuple[int, ...], draw: np.random.Generator) -> Numbers:
        return (np.array(place) + draw.uniform(size=self.angles)) / self.bins * (np.pi / 2)

    def anywhere(self, draw: np.random.Generator) -> tuple[int, ...]:
        return tuple(draw.integers(self.bins, size=self.angles).tolist())

    @property
    def count(self) -> float:
        return float(self.bins) ** self.angles


def _bins_an_angle(dimension: int) -> int:
    return FINE if dimension < FIRST_COARSE else COARSE


def _squared_errors(histories: Sequence[History], fits: Sequence[FittedSurrogate]) -> Tensor:
    """K: squared leave-one-out errors over the variance of the scores, mean over tasks."""
    errors = [
        (history.scores - torch.tensor(fit.diagnostics.loo_scores, dtype=torch.float64)).square()
        / history.scores.var(correction=0).clamp_min(1e-12)
        for history, fit in zip(histories, fits, strict=True)
    ]
    return torch.stack(errors).mean(0)


def _score_bins(bins: Angles, errors: Numbers, draw: np.random.Generator) -> dict[tuple[int, ...], float]:
    """Mean squared error plus half its bootstrap deviation, by occupied bin."""
    members: dict[tuple[int, ...], list[float]] = {}
    for place, error in zip(map(tuple, bins.tolist()), errors.tolist(), strict=True):
        members.setdefault(place, []).append(error)
    return {place: _upper(np.array(found), draw) for place, found in members.items()}


def _upper(errors: Numbers, draw: np.random.Generator) -> float:
    means = draw.choice(errors, (BOOTSTRAPS, len(errors))).mean(1)
    return float(errors.mean() + 0.5 * means.std())


def _draw_bin(grid: _Grid, occupied: dict[tuple[int, ...], float], draw: np.random.Generator) -> tuple[int, ...]:
    scores = np.array(list(occupied.values()))
    empty = max(0.0, grid.count - len(occupied))
    masses = np.exp(np.append(scores, scores.mean()) / TEMPERATURE - scores.max() / TEMPERATURE)
    masses[-1] *= empty
    chosen = int(draw.choice(len(masses), p=masses / masses.sum()))
    return _draw_empty(grid, occupied, draw) if chosen == len(occupied) else list(occupied)[chosen]


def _draw_empty(grid: _Grid, occupied: dict[tuple[int, ...], float], draw: np.random.Generator) -> tuple[int, ...]:
    for _ in range(TRIES):
        place = grid.anywhere(draw)
        if place not in occupied:
            break
    return place


def _direction(angles: Numbers) -> Numbers:
    """The unit vector, D, of D - 1 hyperspherical angles of [0, π/2]."""
    sines = np.cumprod(np.append(1.0, np.sin(angles)))
    direction: Numbers = sines * np.append(np.cos(angles), 1.0)
    return direction
