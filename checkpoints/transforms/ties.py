"""TIES (arXiv 2306.01708): trim, elect, disjoint mean."""

from dataclasses import dataclass

import torch
from torch import Tensor

from checkpoints.transforms.trim import Trimmed

_CHUNK = 1 << 15  # elements: what the dozen passes over N rows go through stays in cache


def agree(trimmed: Tensor) -> Tensor:
    """Each entry that has the elected sign, divided by how many have it; the others zero (section 4, steps 2 and 3).

    The sign is that of the sum over the N rows, plus where the sum is zero. The rows then add up to the disjoint mean, so
    theta_0 + lambda * (their sum) is TIES with its scale lambda. `trimmed`: N x block, float32. Returns N x block.
    """
    total = _add_rows(trimmed)
    sign = torch.ones_like(total).copysign_(total)
    agreeing = (trimmed * sign).clamp_min_(0.0)
    count = _add_rows(agreeing.sign())
    return agreeing.div_(count.clamp_min_(1.0).mul_(sign))


def _add_rows(rows: Tensor) -> Tensor:
    # one after the other: a reduction may choose its order by the block's width, and with it the last bit
    total = rows[0].clone()
    for row in rows[1:]:
        total += row
    return total


@dataclass(frozen=True)
class Agreed:
    """The prepared form of TIES: trimmed by magnitude, then left to the elected sign."""

    trimmed: Trimmed

    def apply(self, tensor: str, start: int, deltas: Tensor) -> Tensor:
        trimmed = self.trimmed.apply(tensor, start, deltas)
        for first in range(0, trimmed.shape[1], _CHUNK):
            part = trimmed[:, first : first + _CHUNK]
            part.copy_(agree(part))
        return trimmed
