"""Many preferences at once: augmented Chebyshev scalarisation, climbed by projected gradient inside the box."""

from dataclasses import dataclass

import torch
from torch import Tensor

from surrogate.landscape import Landscape

AUGMENTATION = 0.02  # share of the plain sum: breaks ties towards points that no other dominates
SHARPNESS = (7.0, 580.0)  # inverse temperature of the smooth maximum, to the base 2, first and last step
STRIDE = (0.15, 0.001)  # step length in box widths, first and last step
MOMENTUM, DECAY = 0.8, 0.95
BLOCK = 32  # weights scored at once: what they need stays in the processor's cache


@dataclass(frozen=True)
class Range:
    """Ideal heights, T, and what one unit of shortfall is for each task, T, positive."""

    ideal: Tensor
    unit: Tensor

    def shortfall(self, heights: Tensor) -> Tensor:
        """How far `heights`, n x T, stay below the ideal, in units."""
        return (self.ideal - heights) / self.unit


def chebyshev(shortfall: Tensor, weights: Tensor) -> Tensor:
    """max_t w_t·d_t + AUGMENTATION·Σ_t w_t·d_t of shortfalls d, n x T; smaller is better. Returns n."""
    weighted = weights * shortfall
    return weighted.amax(-1) + AUGMENTATION * weighted.sum(-1)


def best_starts(heights: Tensor, weights: Tensor, extent: Range) -> Tensor:
    """For each of k weights (k x T) the row of `heights` (n x T) with the least scalarised shortfall; returns k indices."""
    shortfall = extent.shortfall(heights).T.contiguous()
    blocks = [weights[first : first + BLOCK] for first in range(0, len(weights), BLOCK)]
    return torch.cat([_best_of_block(shortfall, block) for block in blocks])


def _best_of_block(shortfall: Tensor, weights: Tensor) -> Tensor:
    worst = weights[:, :1] * shortfall[0]
    total = worst.clone()
    for task in range(1, len(shortfall)):
        weighted = weights[:, task : task + 1] * shortfall[task]
        torch.maximum(worst, weighted, out=worst)
        total += weighted
    return worst.add_(total, alpha=AUGMENTATION).argmin(1)


def climb(landscape: Landscape, start: Tensor, weights: Tensor, extent: Range, low: float, high: float, steps: int) -> Tensor:
    """Points of the box that make the scalarised shortfall small, one a row of `start` (n x D) and `weights` (n x T)."""
    points, width = start.clone(), high - low
    direction, curvature = torch.zeros_like(points), torch.zeros_like(points)
    for step in range(steps):
        share = step / max(steps - 1, 1)
        heights, slopes = landscape.slopes(points)
        gradient = _descent(heights, slopes, weights, extent, _between(SHARPNESS, share))
        direction.mul_(MOMENTUM).add_(gradient, alpha=1 - MOMENTUM)
        curvature.mul_(DECAY).addcmul_(gradient, gradient, value=1 - DECAY)
        correction = (1 - DECAY ** (step + 1)) ** 0.5 / (1 - MOMENTUM ** (step + 1))
        stride = _between(STRIDE, share) * width * correction
        points.addcmul_(direction, curvature.clamp_min(1e-24).rsqrt_(), value=-stride).clamp_(low, high)
    return points


def _descent(heights: Tensor, slopes: Tensor, weights: Tensor, extent: Range, sharpness: float) -> Tensor:
    """Gradient of the smooth scalarised shortfall: the maximum replaced by a log-sum-exp of the given sharpness."""
    weighted = weights * extent.shortfall(heights)
    # a softmax to the base 2: torch's own starts threads even for rows this short
    attention = torch.exp2(sharpness * (weighted - weighted.amax(1, keepdim=True)))
    pull = weights * (attention / attention.sum(1, keepdim=True) + AUGMENTATION) / extent.unit
    return -(pull[:, None, :] @ slopes)[:, 0, :]


def _between(ends: tuple[float, float], share: float) -> float:
    return float(ends[0] ** (1 - share) * ends[1] ** share)
