"""A merge as files that nobody has written: sizes known up front, any range of bytes computed when it is read.

A merge lies in the layout of its base: the same files with the same headers, byte for byte, so names, sizes and the shard index
are the base's, and only the bytes of merged tensors differ.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch

from checkpoints.combine import BLOCK, BlockMerger, Merge
from checkpoints.digest import digest_layout
from checkpoints.header import ITEM_BYTES, TensorEntry
from checkpoints.layout import WeightFile
from checkpoints.transforms.spec import NoTransform, Transform

CHUNK = 1 << 16  # bytes; shorter pieces are gathered up to this before they are handed on

# belongs to the identity of a merge: to be raised whenever the same inputs give other bytes
ARITHMETIC = "float64 sums on blocks of 65536, version 1"


@dataclass(frozen=True)
class MergedFile:
    """One safetensors file of a merge. `source`: the base's file of the same name, whose header it shares."""

    merge: Merge
    source: WeightFile

    @property
    def name(self) -> str:
        return self.source.name

    @cached_property
    def size(self) -> int:
        """In bytes: that of the base's file."""
        return max((entry.end for entry in self.source.header.tensors.values()), default=self.source.header.data_begin)

    def read(self, begin: int = 0, end: int | None = None) -> Iterator[memoryview]:
        """The bytes [begin, end), clipped to the file, in chunks that stay valid. Only tensors in the range are touched.

        Two reads give the same bytes, however a range is cut. Raises NotFiniteError as BlockMerger.block does.
        """
        end = self.size if end is None else min(end, self.size)
        return _gather(self._pieces(max(begin, 0), end))

    def _pieces(self, begin: int, end: int) -> Iterator[memoryview]:
        data_begin = self.source.header.data_begin
        if begin >= end:
            return
        if begin < min(end, data_begin):
            yield memoryview(self._header()[begin:end])
        merger = BlockMerger(self.merge)
        for entry in self.source.header.tensors.values():
            if entry.begin < end and begin < entry.end:
                yield from _tensor_bytes(merger, entry, max(begin, entry.begin), min(end, entry.end))

    def _header(self) -> bytes:
        with self.source.path.open("rb") as file:
            return file.read(self.source.header.data_begin)


@dataclass(frozen=True)
class MergedFiles:
    """Every weight file of a merge and its shard index. `transform`: what `merge.transform` was prepared from."""

    merge: Merge
    transform: Transform = NoTransform()

    @cached_property
    def files(self) -> Mapping[str, MergedFile]:
        """By name, in the base's order."""
        return {file.name: MergedFile(self.merge, file) for file in self.merge.models.base.layout.files}

    @cached_property
    def index(self) -> bytes | None:
        """The bytes of the shard index, where there are shards: the base's."""
        index = self.merge.models.base.layout.index
        return index.read_bytes() if index else None

    @cached_property
    def identity(self) -> str:
        """A sha256 that two merges share only if all their bytes are the same: over inputs, coefficients, groups and transform."""
        models, coefficients = self.merge.models, self.merge.coefficients
        layouts = [models.base.layout, *(source.tensors.layout for source in models.sources.values())]
        parts = [ARITHMETIC, repr(self.transform), *map(digest_layout, layouts)]
        parts += [f"{tensor} {[value.hex() for value in coefficients.of(tensor)]}" for tensor in models.sizes]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _tensor_bytes(merger: BlockMerger, entry: TensorEntry, begin: int, end: int) -> Iterator[memoryview]:
    block_bytes = BLOCK * ITEM_BYTES[entry.dtype]
    for number in range((begin - entry.begin) // block_bytes, -(-(end - entry.begin) // block_bytes)):
        first = entry.begin + number * block_bytes
        block = merger.block(entry.name, number).view(torch.uint8).numpy().data
        yield block[max(begin - first, 0) : end - first]


def _gather(pieces: Iterable[memoryview]) -> Iterator[memoryview]:
    """The same bytes in chunks of at least CHUNK, save the last: models have thousands of tensors of a few bytes."""
    held: list[memoryview] = []
    length = 0
    for piece in pieces:
        held.append(piece)
        length += len(piece)
        if length >= CHUNK:
            yield held[0] if len(held) == 1 else memoryview(b"".join(held))
            held, length = [], 0
    if held:
        yield memoryview(b"".join(held))
