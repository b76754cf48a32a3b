"""What the kernel is fitted by: the leave-one-out density of the trials and its gradient, in closed form and compiled.

A few dozen products of K x K matrices a fit: as calls of a tensor library they spend more time on starting than on numbers, and hold the
interpreter's lock while they start, so that tasks would wait for each other.
"""

from typing import Any

import numpy as np
from numba.extending import register_jitable

from surrogate.compiled import kept
from surrogate.tile import multiply

# Columns are strongly correlated: the marginal likelihood of P of them counts as that of this many independent ones beside the prior.
EFFECTIVE_COLUMNS = 10.0
JITTER = 1e-8
_LEAST = np.finfo(np.float64).tiny


@kept(nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
def evaluate(logs: Any, points: Any, correlation: Any, moments: Any, slopes: Any) -> float:
    """Negative log leave-one-out predictive density of the columns; infinite where the Gram matrix is not positive definite.

    `logs`: 2D + 2, as of Kernel.from_logs. `points`: K x D. `correlation`: D x D. `moments`: K x K. All float64, C-contiguous. Writes the
    gradient in the logs into `slopes`, 2D + 2. Rasmussen & Williams (2006), 5.4.2, the common amplitude profiled out.
    """
    trials, dimension = points.shape
    values = np.empty(len(logs))
    for place in range(len(logs)):
        values[place] = np.exp(logs[place])
    inner, bend = np.empty((trials, trials)), np.empty((trials, trials))
    matrix = np.empty((trials, trials))
    _fill_gram(values, points, correlation, inner, bend, matrix)
    mean = 0.0
    for i in range(trials):
        mean += matrix[i, i] / trials
    for i in range(trials):
        matrix[i, i] += values[2 * dimension + 1] + JITTER * mean
    residual = np.empty((trials, trials))
    if not _invert(matrix, residual):
        return np.inf
    _project_constant(residual)
    loss: float = _differentiate_density(residual, moments, matrix)
    _differentiate_logs(values, points, correlation, inner, bend, matrix, slopes)
    return loss


@register_jitable
def _fill_gram(values: Any, points: Any, correlation: Any, inner: Any, bend: Any, gram: Any) -> None:
    """Of the points without noise: `inner` 1 + aᵀW²b, `bend` the Matérn part's derivative by the squared distance, and `gram`."""
    trials, dimension = points.shape
    scaled, turned, columns = np.empty((trials, dimension)), np.empty((trials, dimension)), np.empty((dimension, trials))
    for d in range(dimension):
        for i in range(trials):
            scaled[i, d] = points[i, d] * values[d]
            columns[d, i] = points[i, d] * values[dimension + d] * values[dimension + d]
    multiply(points, columns, inner)
    multiply(scaled, correlation, turned)
    for d in range(dimension):
        for i in range(trials):
            columns[d, i] = scaled[i, d]
    multiply(turned, columns, bend)
    lengths = np.empty(trials)
    for i in range(trials):
        lengths[i] = bend[i, i]
    for i in range(trials):
        for j in range(trials):
            rho = np.sqrt(max(5.0 * (lengths[i] + lengths[j] - 2.0 * bend[i, j]), 1e-14))
            decay = np.exp(-rho)
            inner[i, j] += 1.0
            bend[i, j] = -5.0 / 6.0 * (1.0 + rho) * decay
            gram[i, j] = values[2 * dimension] * inner[i, j] * inner[i, j] + (1.0 + rho + rho * rho / 3.0) * decay


@register_jitable
def _invert(matrix: Any, out: Any) -> bool:
    """Inverse of the symmetric `matrix` by its Cholesky factor; `matrix` is used up. False where it is not positive definite."""
    size = len(matrix)
    back = np.zeros((size, size))
    for i in range(size):
        for j in range(i + 1):
            total = matrix[i, j]
            for k in range(j):
                total -= matrix[i, k] * matrix[j, k]
            if i > j:
                matrix[i, j] = total / matrix[j, j]
            elif total > 0.0:
                matrix[i, i] = np.sqrt(total)
            else:
                return False
    for i in range(size):
        for j in range(i):
            factor = matrix[i, j]
            for k in range(j + 1):
                back[i, k] -= factor * back[j, k]
        back[i, i] = 1.0
        for k in range(i + 1):
            back[i, k] /= matrix[i, i]
    for i in range(size):
        for k in range(size):
            matrix[k, i] = back[i, k]
    multiply(matrix, back, out)
    return True


@register_jitable
def _project_constant(inverse: Any) -> None:
    """S⁻¹ becomes S⁻¹ - S⁻¹11ᵀS⁻¹ / 1ᵀS⁻¹1."""
    size = len(inverse)
    column, total = np.zeros(size), 0.0
    for i in range(size):
        for j in range(size):
            column[j] += inverse[i, j]
            total += inverse[i, j]
    for i in range(size):
        for j in range(size):
            inverse[i, j] -= column[i] * column[j] / total


@register_jitable
def _differentiate_density(residual: Any, moments: Any, out: Any) -> float:
    """The loss, and into `out` its derivative by the Gram matrix, K x K, symmetric."""
    size = len(residual)
    half, spread = np.empty((size, size)), np.empty((size, size))
    multiply(residual, moments, half)
    multiply(half, residual, spread)
    mean, logs = _LEAST, 0.0
    for i in range(size):
        mean += spread[i, i] / residual[i, i] / size
        logs += np.log(residual[i, i])
    for i in range(size):
        precision = residual[i, i]
        share = 0.5 * (spread[i, i] / precision / mean + 1.0) / precision
        for j in range(size):
            half[i, j] = share * residual[i, j] - spread[i, j] / precision / mean
    multiply(residual, half, spread)
    for i in range(size):
        for j in range(size):
            out[i, j] = 0.5 * EFFECTIVE_COLUMNS * (spread[i, j] + spread[j, i])
    loss: float = 0.5 * EFFECTIVE_COLUMNS * (size * np.log(mean) - logs)
    return loss


@register_jitable
def _differentiate_logs(values: Any, points: Any, correlation: Any, inner: Any, bend: Any, adjoint: Any, slopes: Any) -> None:
    """Gradient in the logs, given the derivative `adjoint` by the Gram matrix with noise; `inner` and `bend` are used up."""
    trials, dimension = points.shape
    polynomial, noise = values[2 * dimension], values[2 * dimension + 1]
    scale, trace, sums = 0.0, 0.0, np.zeros(trials)
    for i in range(trials):
        trace += adjoint[i, i]
        for j in range(trials):
            by_polynomial = adjoint[i, j] * inner[i, j]
            scale += by_polynomial * inner[i, j]
            inner[i, j] = by_polynomial
            bend[i, j] *= adjoint[i, j]
            sums[i] += bend[i, j]
    along, across, spread = np.empty((trials, dimension)), np.empty((trials, dimension)), np.empty((dimension, dimension))
    multiply(inner, points, along)
    multiply(bend, points, across)
    # sum over pairs of h_kl (c_k - c_l)(c_k - c_l)ᵀ without forming K x K x D differences
    for i in range(trials):
        for d in range(dimension):
            across[i, d] = 2.0 * (sums[i] * points[i, d] - across[i, d])
    columns = np.empty((dimension, trials))
    for d in range(dimension):
        for i in range(trials):
            columns[d, i] = points[i, d]
    multiply(columns, across, spread)
    for d in range(dimension):
        by_length, by_weight = 0.0, 0.0
        for other in range(dimension):
            by_length += spread[d, other] * correlation[d, other] * values[other]
        for i in range(trials):
            by_weight += points[i, d] * along[i, d]
        slopes[d] = 2.0 * values[d] * by_length
        slopes[dimension + d] = 4.0 * polynomial * values[dimension + d] * values[dimension + d] * by_weight
    slopes[2 * dimension] = polynomial * scale
    slopes[2 * dimension + 1] = noise * trace
