"""Ordinary kriging: a Gaussian process with an unknown constant, for any number of columns that share one kernel.

Predictions, leave-one-out predictions and samples are all weights on the trials, n x K with rows that sum to one, to be multiplied
with whatever was measured. So the K x K algebra is done once, whatever the number of columns.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import lapack
from scipy.optimize import minimize
from torch import Tensor

from surrogate.errors import FitFailedError
from surrogate.kernel import Kernel, KernelPrior, Vector
from surrogate.leave_one_out import JITTER, evaluate

STEPS = 40
# Relative change of the loss at which the search stops: predictions no longer feel it.
TOLERANCE = 1e-4
LOWEST, HIGHEST = -12.0, 6.0


@dataclass(frozen=True)
class Kriging:
    """A fitted process.

    `points`: K x D. `inverse`: S⁻¹ of their Gram matrix S with noise, K x K. `residual`: the same with the constant projected out,
    S⁻¹ - S⁻¹11ᵀS⁻¹ / 1ᵀS⁻¹1.
    """

    kernel: Kernel
    points: Tensor
    inverse: Tensor
    residual: Tensor

    def weights(self, coefficients: Tensor) -> Tensor:
        """Weights on the trials, n x K, rows summing to one; differentiable in `coefficients`, n x D."""
        return self._weights(self.kernel.between(coefficients, self.points) @ self.inverse)

    def variance(self, coefficients: Tensor) -> Tensor:
        """Predictive variances, n, noise of a new trial included, in units of the outputs' common amplitude."""
        return self.weights_and_variance(coefficients)[1]

    def weights_and_variance(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """Both at once, n x K and n."""
        cross = self.kernel.between(coefficients, self.points)
        solved = cross @ self.inverse
        constant = (1 - solved.sum(-1)).square() / self.inverse.sum()
        variance = (self.kernel.at(coefficients) - (solved * cross).sum(-1) + constant).clamp_min(0) + self.kernel.noise
        return self._weights(solved), variance

    def _weights(self, solved: Tensor) -> Tensor:
        """Of covariances with the trials times S⁻¹, n x K."""
        return solved + (1 - solved.sum(-1, keepdim=True)) * self._constant_weights()

    def sample_weights(self, coefficients: Tensor, draws: int, generator: np.random.Generator) -> Tensor:
        """Weights, draws x n x K, of joint posterior samples at `coefficients` (n x D), without the noise of new trials.

        A sample is mean + C^½ Z, the rows of Z drawn from the columns' covariance, which the K - 1 whitened trials estimate:
        Z = N L⁻¹Y / √(K - 1) with N standard normal is again a weight on the trials.
        """
        mean, deviation = self.weights(coefficients), _factor(self._posterior_covariance(coefficients))
        root = _factor(self.residual)
        # numpy's normals: torch's of double precision take four times as long
        normal = torch.from_numpy(generator.standard_normal((draws, deviation.shape[1], root.shape[1])))
        whitened = normal @ root.T / (len(self.points) - 1) ** 0.5
        whitened -= whitened.mean(2, keepdim=True)  # zero but for rounding
        samples: Tensor = mean + deviation @ whitened
        return samples

    def _posterior_covariance(self, coefficients: Tensor) -> Tensor:
        cross = self.kernel.between(coefficients, self.points)
        solved: Tensor = cross @ self.inverse
        short = (1 - solved.sum(-1)) / self.inverse.sum().sqrt()
        covariance: Tensor = self.kernel.between(coefficients, coefficients) - solved @ cross.T + torch.outer(short, short)
        return covariance

    def loo_weights(self) -> Tensor:
        """Weights, K x K with zero diagonal, that predict every trial from the others, the constant estimated anew."""
        return torch.eye(len(self.points), dtype=torch.float64) - self.residual / self.residual.diagonal()[:, None]

    def loo_variance(self) -> Tensor:
        """Leave-one-out predictive variances, K, in the unit of `variance`."""
        return 1 / self.residual.diagonal()

    def _constant_weights(self) -> Tensor:
        column: Tensor = self.inverse.sum(0)
        return column / column.sum()


def krige(kernel: Kernel, points: Tensor) -> Kriging:
    """The process of `kernel` at `points` (K x D, K >= 2). Raises FitFailedError when its Gram matrix is not positive definite."""
    covariance = kernel.between(points, points)
    covariance.diagonal().add_(kernel.noise + JITTER * covariance.diagonal().mean())
    factor, info = torch.linalg.cholesky_ex(covariance)
    if int(info):
        raise _not_positive()
    inverse = torch.cholesky_inverse(factor)
    column = inverse.sum(0)
    return Kriging(kernel, points, inverse, inverse - torch.outer(column, column) / column.sum())


def fit_kriging(points: Tensor, moments: Tensor, prior: KernelPrior) -> Kriging:
    """The kernel that predicts every trial best from the others, and its process.

    `points`: K x D. `moments`: K x K, YYᵀ / P of the P columns. Minimises by L-BFGS the negative leave-one-out predictive density with the
    common amplitude profiled out (Rasmussen & Williams, 5.4.2) plus the prior. Raises FitFailedError when no finite optimum is found.
    """
    given = [np.ascontiguousarray(each.double().numpy()) for each in (points, prior.correlation, moments)]

    def objective(logs: Vector) -> tuple[float, Vector]:
        slopes = np.empty_like(logs)
        fitness = evaluate(logs, *given, slopes)
        if fitness == math.inf:
            raise _not_positive()
        penalty, slope = prior.loss(logs)
        return fitness + penalty, slopes + slope

    bounds = [(LOWEST, HIGHEST)] * len(prior.center)
    start: Vector = prior.center.clamp(LOWEST, HIGHEST).numpy()
    found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": STEPS, "ftol": TOLERANCE})
    if not math.isfinite(found.fun):
        raise FitFailedError(f"fitting the kernel did not converge: {found.message}")
    return krige(Kernel.from_logs(torch.from_numpy(found.x), prior.correlation), points)


def _not_positive() -> FitFailedError:
    return FitFailedError("the Gram matrix of the trials is not positive definite: are coefficients repeated many times?")


def _factor(covariance: Tensor) -> Tensor:
    """A matrix, n x its rank, whose product with its transpose is the positive semi-definite `covariance`, to within rounding.

    Cholesky with pivots, which stops where nothing but rounding is left: a tenth of the time of an eigendecomposition.
    """
    packed, pivots, rank, _ = lapack.dpstrf(covariance.numpy(), lower=1)
    factor = np.zeros((len(covariance), rank))
    factor[pivots - 1] = np.tril(packed)[:, :rank]
    return torch.from_numpy(factor)
