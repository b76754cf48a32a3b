"""Weighted linear regression with an intercept, solved once by singular values: slopes, hat matrix, rank and variance."""

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class LinearFit:
    """The minimiser of Σ w_k (y_k - intercept - x_k·slopes)² + ridge·‖standardised slopes‖², weights of mean 1.

    `fitted`, `leverages`: K, the fitted values and the diagonal of the hat matrix. `rank` counts the intercept and ignores the
    ridge. `condition`: largest over smallest singular value of the standardised weighted design, infinite where rank is short.
    """

    intercept: float
    slopes: Tensor
    fitted: Tensor
    leverages: Tensor
    rank: int
    condition: float
    _centre: Tensor = field(repr=False)
    _spread: Tensor = field(repr=False)
    _axes: Tensor = field(repr=False)  # right singular vectors, P x r
    _shrunk: Tensor = field(repr=False)  # 1 / (s² + ridge), r
    _outside: float = field(repr=False)  # 1 / ridge for directions that no trial spans, 0 without a ridge

    def predict(self, features: Tensor) -> Tensor:
        """Fitted values at `features`, n x P; returns n."""
        return self.intercept + features @ self.slopes

    def variance(self, features: Tensor) -> Tensor:
        """Variance of `predict` over that of one residual of weight 1: xᵀ(XᵀWX + ridge)⁻¹x; `features` n x P, returns n."""
        standard = (features - self._centre) / self._spread
        along = (standard @ self._axes).square()
        beyond = (standard.square().sum(1) - along.sum(1)).clamp_min(0.0)
        return 1.0 / len(self.fitted) + along @ self._shrunk + beyond * self._outside


def fit_linear(features: Tensor, values: Tensor, weights: Tensor, ridge: float = 0.0) -> LinearFit:
    """Weighted least squares of `values` (K) on `features` (K x P) with positive `weights` (K), shrunk by `ridge` >= 0.

    The intercept is not shrunk. Without a ridge a short rank gives the solution of least norm; callers look at `rank`.
    """
    weights = weights / weights.mean()
    root = weights.sqrt()[:, None]
    share = weights / weights.sum()
    centre, mean = share @ features, share @ values
    spread = (share @ (features - centre).square()).sqrt()
    spread = torch.where(spread > 0, spread, torch.ones_like(spread))
    left, singular, right = torch.linalg.svd(root * (features - centre) / spread, full_matrices=False)
    kept = singular > singular.max() * max(features.shape) * torch.finfo(singular.dtype).eps
    left, singular_kept, axes = left[:, kept], singular[kept], right[kept].T
    shrunk = 1.0 / (singular_kept.square() + ridge)
    slopes = (axes @ (shrunk * singular_kept * (left.T @ (root[:, 0] * (values - mean))))) / spread
    intercept = float(mean - centre @ slopes)
    complete = int(kept.sum()) == features.shape[1]
    return LinearFit(
        intercept=intercept,
        slopes=slopes,
        fitted=intercept + features @ slopes,
        leverages=share + left.square() @ (singular_kept.square() * shrunk),
        rank=int(kept.sum()) + 1,
        condition=float(singular.max() / singular.min()) if complete else float("inf"),
        _centre=centre,
        _spread=spread,
        _axes=axes,
        _shrunk=shrunk,
        _outside=1.0 / ridge if ridge > 0 else 0.0,
    )
