"""What solvers climb: all tasks' utilities and their slopes at once. One form for quadratics, one for any other surrogate."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from surrogate.history import FittedSurrogate
from surrogate.quadratic import Quadratic


class Landscape(Protocol):
    """Heights of T tasks over the coefficients, larger is better."""

    def heights(self, coefficients: Tensor) -> Tensor:
        """n x T at `coefficients`, n x D."""

    def slopes(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """Heights, n x T, and their gradients, n x T x D, at `coefficients`, n x D."""


@dataclass(frozen=True)
class LinkedQuadratics:
    """Quadratics on their linked scale: increasing links change neither who dominates whom nor the Pareto set.

    `A`: T x D x D, `b`: T x D, `e`: T, turned so that larger is better.
    """

    A: Tensor
    b: Tensor
    e: Tensor

    def heights(self, coefficients: Tensor) -> Tensor:
        return self.slopes(coefficients)[0]

    def slopes(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        # one small product a task: a single wide one is split over threads, which on a busy machine wait for each other
        bent = torch.stack([coefficients @ curvature for curvature in self.A], 1)
        heights = self.e + coefficients @ self.b.T + 0.5 * (bent * coefficients[:, None, :]).sum(2)
        return heights, bent + self.b


@dataclass(frozen=True)
class ScoredQuadratics:
    """Quadratics as utilities: scores turned so that larger is better."""

    fits: tuple[Quadratic, ...]
    linked: LinkedQuadratics

    def heights(self, coefficients: Tensor) -> Tensor:
        return self._utilities(self.linked.heights(coefficients))

    def slopes(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        linked, bent = self.linked.slopes(coefficients)
        stretch = [fit.link.derivative(_sign(fit) * linked[:, task]) for task, fit in enumerate(self.fits)]
        return self._utilities(linked), torch.stack(stretch, 1)[:, :, None] * bent

    def _utilities(self, linked: Tensor) -> Tensor:
        columns = [_sign(fit) * fit.link.inverse(_sign(fit) * linked[:, task]) for task, fit in enumerate(self.fits)]
        return torch.stack(columns, 1)


@dataclass(frozen=True)
class Utilities:
    """The utilities of any surrogates, their slopes by automatic differentiation."""

    fits: tuple[FittedSurrogate, ...]

    def heights(self, coefficients: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.stack([fit.utility(coefficients) for fit in self.fits], 1)

    def slopes(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        heights, slopes = zip(*(_climb(fit, coefficients) for fit in self.fits), strict=True)
        return torch.stack(heights, 1), torch.stack(slopes, 1)


def linked_landscape(fits: Sequence[FittedSurrogate]) -> Landscape:
    """The landscape whose Pareto set is that of `fits`, in the form that is easiest to climb."""
    quadratics = _all_quadratic(fits)
    return Utilities(tuple(fits)) if quadratics is None else stack_quadratics(quadratics)


def scored_landscape(fits: Sequence[FittedSurrogate]) -> Landscape:
    """The landscape of the utilities themselves: for choices that weigh scores."""
    quadratics = _all_quadratic(fits)
    return Utilities(tuple(fits)) if quadratics is None else ScoredQuadratics(quadratics, stack_quadratics(quadratics))


def stack_quadratics(fits: Sequence[Quadratic]) -> LinkedQuadratics:
    """The quadratics of T tasks as one landscape on the linked scale."""
    return LinkedQuadratics(
        A=torch.stack([_sign(fit) * fit.A for fit in fits]),
        b=torch.stack([_sign(fit) * fit.b for fit in fits]),
        e=torch.tensor([_sign(fit) * fit.e for fit in fits], dtype=torch.float64),
    )


def _all_quadratic(fits: Sequence[FittedSurrogate]) -> tuple[Quadratic, ...] | None:
    quadratics = tuple(fit for fit in fits if isinstance(fit, Quadratic))
    return quadratics if len(quadratics) == len(fits) else None


def _sign(fit: Quadratic) -> float:
    return 1.0 if fit.scale.maximize else -1.0


def _climb(fit: FittedSurrogate, coefficients: Tensor) -> tuple[Tensor, Tensor]:
    leaf = coefficients.detach().requires_grad_()
    height = fit.utility(leaf)
    (slope,) = torch.autograd.grad(height.sum(), leaf)
    return height.detach(), slope
