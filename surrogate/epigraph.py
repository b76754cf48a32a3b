"""One precise optimum: min s + Σ pull_t·d_t with s >= push_t·d_t, under bounds on the heights, by SLSQP (Kraft 1988)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from surrogate.landscape import Landscape
from surrogate.scalarise import Range

Vector = np.ndarray[tuple[int], np.dtype[np.float64]]
Matrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]
ITERATIONS, TOLERANCE = 200, 1e-10
# Limits are met with this much to spare, in units of the task's range, so that the solver's tolerance cannot break them.
SPARE = 1e-7


@dataclass(frozen=True)
class Goal:
    """What is made small: max_t push_t·d_t + Σ_t pull_t·d_t of the shortfalls d. `push`: T, not negative. `pull`: T."""

    push: Tensor
    pull: Tensor
    extent: Range

    def loss(self, heights: Tensor) -> Tensor:
        """Of heights n x T; returns n."""
        shortfall = self.extent.shortfall(heights)
        return (self.push * shortfall).amax(1) + shortfall @ self.pull


@dataclass(frozen=True)
class Limits:
    """Bounds on heights, sign_k·height[task_k] >= bound_k, in units of the task's range. All tensors are of length k."""

    tasks: Tensor
    signs: Tensor
    bounds: Tensor
    units: Tensor

    def slack(self, heights: Tensor) -> Tensor:
        """How far heights, n x T, are inside each limit, less SPARE; negative where it is broken. Returns n x k."""
        return (self.signs * heights[:, self.tasks] - self.bounds) / self.units - SPARE

    def hold(self, heights: Tensor) -> Tensor:
        """Whether heights, n x T, are inside every limit. Returns a bool mask, n."""
        return (self.slack(heights) >= -0.5 * SPARE).all(1)


NO_LIMITS = Limits(
    tasks=torch.zeros(0, dtype=torch.long),
    signs=torch.zeros(0, dtype=torch.float64),
    bounds=torch.zeros(0, dtype=torch.float64),
    units=torch.ones(0, dtype=torch.float64),
)


def descend(landscape: Landscape, goal: Goal, limits: Limits, start: Tensor, low: float, high: float) -> Tensor:
    """The point of the box that SLSQP reaches from `start` (D): near-feasible and locally best; the caller checks. Returns D."""
    epigraph = _Epigraph(landscape, goal, limits, start)
    box: list[tuple[float | None, float | None]] = [(low, high)] * len(start)
    # scipy's stubs know constraints of one number only
    room: Any = {"type": "ineq", "fun": epigraph.room, "jac": epigraph.room_slopes}
    result = minimize(
        epigraph.objective,
        epigraph.start(),
        jac=epigraph.objective_slopes,
        method="SLSQP",
        bounds=[*box, (None, None)],
        constraints=room,
        options={"maxiter": ITERATIONS, "ftol": TOLERANCE},
    )
    return torch.from_numpy(np.asarray(result.x[:-1], dtype=np.float64)).clamp(low, high)


class _Epigraph:
    """The smooth problem in x = (c, s). Keeps the last evaluation: SLSQP asks for values and slopes at one point in turn."""

    def __init__(self, landscape: Landscape, goal: Goal, limits: Limits, start: Tensor) -> None:
        self._landscape, self._goal, self._limits = landscape, goal, limits
        self._look(start)

    def start(self) -> Vector:
        """x at the point looked at last, with the least s."""
        return np.append(self._point.numpy(), float((self._goal.push * self._shortfall()).amax()))

    def objective(self, x: Vector) -> float:
        self._turn_to(x)
        return float(x[-1]) + float(self._shortfall() @ self._goal.pull)

    def objective_slopes(self, x: Vector) -> Vector:
        self._turn_to(x)
        return np.append(-(self._goal.pull / self._goal.extent.unit @ self._slopes).numpy(), 1.0)

    def room(self, x: Vector) -> Vector:
        """What must not be negative: s less every pushed shortfall, and the slack of every limit."""
        self._turn_to(x)
        below = float(x[-1]) - self._goal.push * self._shortfall()
        return np.asarray(torch.cat([below, self._limits.slack(self._heights[None])[0]]).numpy())

    def room_slopes(self, x: Vector) -> Matrix:
        self._turn_to(x)
        below = (self._goal.push / self._goal.extent.unit)[:, None] * self._slopes
        inside = (self._limits.signs / self._limits.units)[:, None] * self._slopes[self._limits.tasks]
        along_s = torch.cat([below.new_ones(len(below), 1), inside.new_zeros(len(inside), 1)])
        return np.asarray(torch.cat([torch.cat([below, inside]), along_s], 1).numpy())

    def _shortfall(self) -> Tensor:
        return self._goal.extent.shortfall(self._heights)

    def _turn_to(self, x: Vector) -> None:
        point = torch.from_numpy(x[:-1].copy())
        if not point.equal(self._point):
            self._look(point)

    def _look(self, point: Tensor) -> None:
        heights, slopes = self._landscape.slopes(point[None])
        self._point, self._heights, self._slopes = point, heights[0], slopes[0]
