"""How the merged tensors lie in one flat buffer, and which stretches of it are computed in one go."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from math import prod
from operator import itemgetter

import torch

from checkpoints.adapters import AdapterSource, LowRank
from checkpoints.groups import Groups
from checkpoints.model_set import ModelSet
from checkpoints.read import DTYPES
from checkpoints.sources import TunedSource

ALIGNMENT = 64  # bytes: a cache line, and what vector instructions like


@dataclass(frozen=True)
class Slot:
    """One merged tensor in the buffer of its dtype. `offset` and `size` in elements."""

    tensor: str
    shape: tuple[int, ...]
    stored: torch.dtype
    dtype: torch.dtype
    offset: int

    @property
    def size(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True)
class Makeup:
    """What a stretch of the buffer is computed from.

    `dense`, `low_rank`: numbers of the tuned checkpoints whose task vector is not zero here. `rows`: the dtype in which the
    dense ones are held. `alone`: the tensor, where it cannot be computed together with its neighbours.
    """

    group: int
    stored: torch.dtype
    dense: tuple[int, ...]
    low_rank: tuple[int, ...]
    rows: torch.dtype
    alone: str = ""


@dataclass(frozen=True)
class Run:
    """Neighbouring slots of one makeup, computed in one go."""

    slots: tuple[Slot, ...]
    makeup: Makeup

    @property
    def begin(self) -> int:
        return self.slots[0].offset

    @property
    def length(self) -> int:
        """In elements, the padding between slots counted in."""
        return self.slots[-1].offset + self.slots[-1].size - self.begin

    @property
    def stored_bytes(self) -> int:
        """What base and dense task vectors of this run take when they are held in memory."""
        return self.length * (self.makeup.stored.itemsize + len(self.makeup.dense) * self.makeup.rows.itemsize)


def place_slots(models: ModelSet, dtype: torch.dtype | None) -> tuple[Slot, ...]:
    """A slot for every merged tensor, in the base's order. `dtype`: of all buffers, or None for the base's own."""
    ends: dict[torch.dtype, int] = {}
    slots = []
    for tensor in models.sizes:
        entry = models.base.layout.entry(tensor)
        stored = DTYPES[entry.dtype]
        target = dtype or stored
        step = ALIGNMENT // target.itemsize
        offset = -(-ends.get(target, 0) // step) * step
        slots.append(Slot(tensor, entry.shape, stored, target, offset))
        ends[target] = offset + entry.elements
    return tuple(slots)


def find_runs(models: ModelSet, slots: Sequence[Slot], groups: Groups, transformed: bool) -> tuple[Run, ...]:
    """Join neighbouring slots into runs. `transformed`: a transform makes every task vector dense."""
    runs = []
    for dtype in dict.fromkeys(slot.dtype for slot in slots):
        made = [(_makeup(models, slot, groups, transformed), slot) for slot in slots if slot.dtype == dtype]
        runs += [Run(tuple(slot for _, slot in part), makeup) for makeup, part in groupby(made, key=itemgetter(0))]
    return tuple(runs)


def _makeup(models: ModelSet, slot: Slot, groups: Groups, transformed: bool) -> Makeup:
    group = groups.members[slot.tensor]
    if transformed:
        return Makeup(group, slot.stored, tuple(range(len(models.tuned))), (), torch.float32)
    sources = tuple(enumerate(models.sources.values()))
    low_rank = tuple(number for number, source in sources if factor_of(source, slot.tensor))
    dense = tuple(number for number, source in sources if source.touches(slot.tensor) and number not in low_rank)
    rows = _row_dtype(slot, [source for number, source in sources if number in dense])
    return Makeup(group, slot.stored, dense, low_rank, rows, slot.tensor if low_rank else "")


def factor_of(source: TunedSource, tensor: str) -> LowRank | None:
    """The low-rank task vector of one tensor, where the tuned checkpoint is an adapter that has one there."""
    return source.factors.get(tensor) if isinstance(source, AdapterSource) else None


def _row_dtype(slot: Slot, sources: Sequence[TunedSource]) -> torch.dtype:
    """The half precision that base and tuned weights share: then weights are held. Otherwise their differences, in float32."""
    tuned = {weights.dtype for source in sources if (weights := source.weights(slot.tensor, 0, 0)) is not None}
    return slot.stored if slot.stored.itemsize == 2 and tuned <= {slot.stored} else torch.float32
