"""Trimming by magnitude: the first step of TIES, and a transform of its own."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


def trim(deltas: Tensor, thresholds: Tensor) -> Tensor:
    """Entries with |v| >= threshold kept, the rest zero. `deltas`: N x block, float32; `thresholds`: N. Returns N x block."""
    return torch.where(deltas.abs() >= thresholds[:, None], deltas, 0.0)


@dataclass(frozen=True)
class Trimmed:
    """The prepared form: `thresholds` holds, for every tensor, the N magnitudes from which entries are kept.

    `cuts_ties` says that somewhere entries as large as the last kept one were kept beyond the asked density.
    """

    thresholds: Mapping[str, Tensor]
    cuts_ties: bool

    def apply(self, tensor: str, start: int, deltas: Tensor) -> Tensor:
        return trim(deltas, self.thresholds[tensor])
