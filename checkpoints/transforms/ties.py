"""TIES (arXiv 2306.01708): trim, elect, disjoint mean."""

from dataclasses import dataclass

import torch
from torch import Tensor

from checkpoints.transforms.trim import Trimmed


def agree(trimmed: Tensor) -> Tensor:
    """Each entry that has the elected sign, divided by how many have it; the others zero (section 4, steps 2 and 3).

    The sign is that of the sum over the N rows, plus where the sum is zero. The rows then add up to the disjoint mean, so
    theta_0 + lambda * (their sum) is TIES with its scale lambda. `trimmed`: N x block, float32. Returns N x block.
    """
    total = trimmed[0].clone()
    for row in trimmed[1:]:  # row by row: one fixed order of additions, whatever the block
        total += row
    sign = torch.ones_like(total).masked_fill_(total < 0, -1.0)
    agreeing = (trimmed * sign).clamp_min_(0.0)
    count = torch.zeros_like(total)
    for row in agreeing:
        count += row > 0
    return agreeing.div_(count.clamp_min_(1.0).mul_(sign))


@dataclass(frozen=True)
class Agreed:
    """The prepared form of TIES: trimmed by magnitude, then left to the elected sign."""

    trimmed: Trimmed

    def apply(self, tensor: str, start: int, deltas: Tensor) -> Tensor:
        return agree(self.trimmed.apply(tensor, start, deltas))
