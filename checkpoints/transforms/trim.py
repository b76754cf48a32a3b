"""Trimming by magnitude: the first step of TIES, and a transform of its own."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import hardshrink


def trim(deltas: Tensor, thresholds: Tensor) -> Tensor:
    """Entries with |v| >= threshold kept, the rest zero. `deltas`: N x block, float32; `thresholds`: N. Returns N x block."""
    # hardshrink is the one fused pass there is; it keeps what is larger than its limit, so the limit is the number just below
    limits = torch.nextafter(thresholds, torch.tensor(-torch.inf)).tolist()
    trimmed = torch.empty_like(deltas)
    for row, limit, out in zip(deltas, limits, trimmed, strict=True):
        out.copy_(hardshrink(row, limit))
    return trimmed


@dataclass(frozen=True)
class Trimmed:
    """The prepared form: `thresholds` holds, for every tensor, the N magnitudes from which entries are kept.

    `cuts_ties` says that somewhere entries as large as the last kept one were kept beyond the asked density.
    """

    thresholds: Mapping[str, Tensor]
    cuts_ties: bool

    def apply(self, tensor: str, start: int, deltas: Tensor) -> Tensor:
        return trim(deltas, self.thresholds[tensor])
