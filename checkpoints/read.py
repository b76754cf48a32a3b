"""Tensors of a checkpoint as views of its mapped files: nothing is copied until somebody computes with it."""

import mmap
from functools import cached_property

import torch
from torch import Tensor

from checkpoints.header import ITEM_BYTES, TensorEntry
from checkpoints.layout import Layout

DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U64": torch.uint64, "U32": torch.uint32, "U16": torch.uint16, "U8": torch.uint8,
    "BOOL": torch.bool,
}  # fmt: skip


class MappedTensors:
    """Every tensor of one layout, read through memory maps that are made at first use and shared by all views.

    Views are never to be written to: a write stays in this process and never reaches the file.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    @cached_property
    def _maps(self) -> tuple[mmap.mmap, ...]:
        return tuple(_map(self.layout, number) for number in range(len(self.layout.files)))

    def flat(self, tensor: str, start: int = 0, stop: int | None = None) -> Tensor:
        """Elements [start, stop) of a tensor, flattened, in its own dtype. A view of the file."""
        place = self.layout.tensors[tensor]
        stop = place.entry.elements if stop is None else stop
        return _view(self._maps[place.file], place.entry, start, stop)

    def tensor(self, name: str) -> Tensor:
        """A whole tensor in its shape. A view of the file."""
        return self.flat(name).view(self.layout.entry(name).shape)


def _map(layout: Layout, number: int) -> mmap.mmap:
    # copy-on-write: torch asks for writable memory, the file stays out of reach
    with layout.files[number].path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


def _view(mapped: mmap.mmap, entry: TensorEntry, start: int, stop: int) -> Tensor:
    dtype, item = DTYPES[entry.dtype], ITEM_BYTES[entry.dtype]
    if stop <= start:
        return torch.empty(0, dtype=dtype)
    offset = entry.begin + start * item
    if offset % item:  # the format does not promise alignment, vector instructions ask for it
        return torch.frombuffer(bytearray(mapped[offset : offset + (stop - start) * item]), dtype=dtype)
    return torch.frombuffer(mapped, dtype=dtype, count=stop - start, offset=offset)
