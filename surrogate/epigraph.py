"""One precise optimum: min s + Σ pull_t·d_t with s >= push_t·d_t, under bounds on the heights, by SLSQP (Kraft 1988)."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from surrogate.landscape import Landscape
from surrogate.scalarise import Range

Vector = NDArray[np.float64]
ITERATIONS = 200
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
    heights_of = _Memory(landscape, start)

    def objective(x: Vector) -> tuple[float, Vector]:
        heights, slopes = heights_of(x)
        pull = goal.pull / goal.extent.unit
        gradient = -(pull @ slopes)
        value = x[-1] + float(goal.extent.shortfall(heights) @ goal.pull)
        return value, np.append(gradient.numpy(), 1.0)

    def slack(x: Vector) -> Vector:
        heights, _ = heights_of(x)
        room = x[-1] - (goal.push * goal.extent.shortfall(heights)).numpy()
        return np.concatenate([room, limits.slack(heights[None])[0].numpy()])

    def slack_slopes(x: Vector) -> Vector:
        _, slopes = heights_of(x)
        room = (goal.push / goal.extent.unit)[:, None] * slopes
        inside = (limits.signs / limits.units)[:, None] * slopes[limits.tasks]
        epigraph = torch.cat([torch.ones(len(room), 1), torch.zeros(len(inside), 1)]).to(room.dtype)
        return torch.cat([torch.cat([room, inside]), epigraph], 1).numpy()

    heights, _ = heights_of(start.numpy())
    first = float((goal.push * goal.extent.shortfall(heights)).amax())
    result = minimize(
        objective,
        np.append(start.numpy(), first),
        jac=True,
        method="SLSQP",
        bounds=[(low, high)] * len(start) + [(None, None)],
        constraints={"type": "ineq", "fun": slack, "jac": slack_slopes},
        options={"maxiter": ITERATIONS, "ftol": 1e-10},
    )
    return torch.from_numpy(np.asarray(result.x[:-1], dtype=np.float64)).clamp(low, high)


class _Memory:
    """The last evaluation of a landscape: SLSQP asks for value, constraints and slopes at one point in turn."""

    def __init__(self, landscape: Landscape, start: Tensor) -> None:
        self._landscape = landscape
        self._look(start)

    def __call__(self, x: Vector) -> tuple[Tensor, Tensor]:
        point = torch.from_numpy(x[: len(self._point)].copy())
        if not point.equal(self._point):
            self._look(point)
        return self._heights, self._slopes

    def _look(self, point: Tensor) -> None:
        heights, slopes = self._landscape.slopes(point[None])
        self._point, self._heights, self._slopes = point, heights[0], slopes[0]
