"""The Pareto set of quadratics that all bend downwards: exact, one linear system a preference."""

import torch
from torch import Tensor

from surrogate.landscape import LinkedQuadratics

SWEEPS = 60


def all_concave(quadratics: LinkedQuadratics) -> bool:
    """Whether every A_t is negative definite, so that each mixture of tasks has one peak."""
    return bool((torch.linalg.eigvalsh(quadratics.A)[:, -1] < 0).all())


def mixture_peaks(quadratics: LinkedQuadratics, weights: Tensor, low: float, high: float) -> Tensor:
    """argmax over the box of Σ_t w_t(e_t + b_t·c + ½ cᵀA_t c) for each of n `weights` (n x T): returns n x D.

    c(w) = -(Σ w_t A_t)⁻¹ Σ w_t b_t where that lies in the box; elsewhere coordinate ascent inside it, which finds the one peak.
    Every A_t must be negative definite (`all_concave`).
    """
    bend = torch.einsum("nt,tij->nij", weights, quadratics.A)
    pull = weights @ quadratics.b
    peaks: Tensor = torch.linalg.solve(bend, -pull)
    outside = ((peaks < low) | (peaks > high)).any(1)
    peaks[outside] = _ascend(bend[outside], pull[outside], peaks[outside].clamp(low, high), low, high)
    return peaks


def _ascend(bend: Tensor, pull: Tensor, points: Tensor, low: float, high: float) -> Tensor:
    for _ in range(SWEEPS):
        before = points.clone()
        for axis in range(points.shape[1]):
            slope = pull[:, axis] + (bend[:, axis] * points).sum(1)
            points[:, axis] = (points[:, axis] - slope / bend[:, axis, axis]).clamp(low, high)
        if bool((points - before).abs().max() < 1e-9 * (high - low)) if len(points) else True:
            break
    return points
