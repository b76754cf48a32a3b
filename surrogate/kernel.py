"""The kernel of the output-space surrogate, and what is believed of it before any trial."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from surrogate.errors import InvalidRequestError

Vector = np.ndarray[tuple[int], np.dtype[np.float64]]

# The prior, in logarithms: standard deviations of the common level and of single coordinates around it, of the two amplitudes, and
# the amplitudes' centres relative to the Matérn part. Results hardly move when these do (half or twice: below a tenth of the error).
LEVEL, SCATTER, AMPLITUDE_SPREAD = 1.0, 0.7, 3.0
LOG_POLYNOMIAL, LOG_NOISE = -2.0, -6.0


@dataclass(frozen=True)
class Kernel:
    """k(a, b) = polynomial·(1 + aᵀW²b)² + Matérn-5/2(|R(e∘(a - b))|), and `noise` on the diagonal of a Gram matrix.

    `inverse_lengths` e and `weights` w (W = diag w): D, positive. `correlation` RᵀR: D x D, the correlation matrix of the task
    vectors, so that directions in which they overlap count together. Unit Matérn amplitude: the scale of the outputs is profiled out.
    """

    inverse_lengths: Tensor
    weights: Tensor
    polynomial: Tensor
    noise: Tensor
    correlation: Tensor

    @staticmethod
    def from_logs(logs: Tensor, correlation: Tensor) -> "Kernel":
        """The kernel of a log parameter vector, 2D + 2: inverse lengths, weights, polynomial, noise."""
        d = len(correlation)
        values = logs.exp()
        return Kernel(values[:d], values[d : 2 * d], values[2 * d], values[2 * d + 1], correlation)

    def between(self, a: Tensor, b: Tensor) -> Tensor:
        """Covariances without noise, n x k, of `a` (n x D) and `b` (k x D); differentiable in both."""
        return self._polynomial(a, b) + matern(self._squared_distance(a, b))

    def at(self, a: Tensor) -> Tensor:
        """Prior variances without noise, n, of `a` (n x D)."""
        return self.polynomial * (1 + (a * self.weights).square().sum(-1)).square() + 1

    def _polynomial(self, a: Tensor, b: Tensor) -> Tensor:
        return self.polynomial * (1 + (a * self.weights.square()) @ b.T).square()

    def _squared_distance(self, a: Tensor, b: Tensor) -> Tensor:
        p, q = a * self.inverse_lengths, b * self.inverse_lengths
        u, v = p @ self.correlation, q @ self.correlation
        return ((p * u).sum(-1)[:, None] + (q * v).sum(-1) - 2 * u @ q.T).clamp_min(0)


def matern(squared_distance: Tensor) -> Tensor:
    """Matérn-5/2 correlation of squared scaled distances; any shape, its slope at 0 is exact."""
    rho = _scaled(squared_distance)
    return (1 + rho + rho.square() / 3) * torch.exp(-rho)


def _scaled(squared_distance: Tensor) -> Tensor:
    # the floor keeps the square root differentiable where two points meet
    return (5 * squared_distance).clamp_min(1e-14).sqrt()


@dataclass(frozen=True)
class KernelPrior:
    """Normal prior on the log parameters of a kernel: `center` 2D + 2, `precision` its inverse covariance.

    The inverse lengths share a level and scatter around it, likewise the weights: few trials teach one common scale, single
    coordinates depart from it where the data insist. `correlation`: of the task vectors, D x D.
    """

    center: Tensor
    precision: Tensor
    correlation: Tensor

    def loss(self, logs: Vector) -> tuple[float, Vector]:
        """Negative log density up to a constant, and its gradient (2D + 2), at `logs`."""
        apart = logs - self.center.numpy()
        slope = self.precision.numpy() @ apart
        return 0.5 * float(slope @ apart), slope


def prior_from_gram(dimension: int, gram: Tensor | None) -> KernelPrior:
    """Prior centred on the natural distance of merged weights, ‖Σ Δc_n v_n‖.

    `gram`: D x D, inner products of the task vectors; None takes them as orthogonal and of equal length. The relative lengths of the
    vectors become the relative inverse lengths; a vector of average length has length scale 1, since c = 1 is a whole fine-tune.
    Raises InvalidRequestError for a `gram` of another size.
    """
    if gram is not None and gram.shape != (dimension, dimension):
        raise InvalidRequestError(
            f"the Gram matrix of the task vectors is {tuple(gram.shape)}, coefficients need {dimension} x {dimension}"
        )
    norms = torch.ones(dimension, dtype=torch.float64) if gram is None else gram.double().diagonal().clamp_min(0).sqrt()
    norms = norms.clamp_min(1e-3 * float(norms.max()) or 1.0)
    correlation = torch.eye(dimension, dtype=torch.float64) if gram is None else gram.double() / norms[:, None] / norms
    relative = (norms / norms.square().mean().sqrt()).log()
    center = torch.cat([relative, relative, torch.tensor([LOG_POLYNOMIAL, LOG_NOISE], dtype=torch.float64)])
    return KernelPrior(center, _precision(dimension), correlation)


def _precision(dimension: int) -> Tensor:
    eye = torch.eye(dimension, dtype=torch.float64)
    inverse = torch.linalg.inv(LEVEL**2 + SCATTER**2 * eye)
    precision = torch.eye(2 * dimension + 2, dtype=torch.float64) / AMPLITUDE_SPREAD**2
    precision[:dimension, :dimension] = inverse
    precision[dimension : 2 * dimension, dimension : 2 * dimension] = inverse
    return precision
