"""Stretches of a file's bytes that are computed in one go: a long tensor is many of them, many short tensors are one."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from checkpoints.combine import BLOCK, BlockMerger, Merge
from checkpoints.header import ITEM_BYTES, TensorEntry
from checkpoints.read import DTYPES

SEGMENT = 1 << 20  # bytes that make a segment full


@dataclass(frozen=True)
class Piece:
    """One block of one tensor, at the bytes [begin, end) of the file."""

    entry: TensorEntry
    number: int
    begin: int
    end: int


@dataclass(frozen=True)
class Segment:
    """Pieces that follow each other without a gap; at least one."""

    pieces: tuple[Piece, ...]

    @property
    def begin(self) -> int:
        return self.pieces[0].begin

    @property
    def end(self) -> int:
        return self.pieces[-1].end


def cut_segments(entries: Iterable[TensorEntry], begin: int, end: int) -> Iterator[Segment]:
    """The segments that cover the bytes [begin, end), not empty. `entries`: of one file, in the order of their bytes."""
    gathered: list[Piece] = []
    for piece in _pieces(entries, begin, end):
        gathered.append(piece)
        if piece.end - gathered[0].begin >= SEGMENT:
            yield Segment(tuple(gathered))
            gathered = []
    if gathered:
        yield Segment(tuple(gathered))


def _pieces(entries: Iterable[TensorEntry], begin: int, end: int) -> Iterator[Piece]:
    for entry in entries:
        if entry.end <= begin or entry.begin >= end or entry.begin == entry.end:
            continue
        length = BLOCK * ITEM_BYTES[entry.dtype]
        first, last = max(begin - entry.begin, 0) // length, (min(end, entry.end) - entry.begin - 1) // length
        for number in range(first, last + 1):
            at = entry.begin + number * length
            yield Piece(entry, number, at, min(at + length, entry.end))


@dataclass(frozen=True)
class SegmentMerger:
    """Computes segments of one merge, on any number of threads at once."""

    merge: Merge

    def __call__(self, segment: Segment) -> memoryview:
        """The bytes of a segment, fresh. Raises NotFiniteError as BlockMerger.block does."""
        merger = BlockMerger(self.merge)
        content = torch.empty(segment.end - segment.begin, dtype=torch.uint8)
        for piece in segment.pieces:
            _compute(merger, piece, content[piece.begin - segment.begin : piece.end - segment.begin])
        return content.numpy().data


def _compute(merger: BlockMerger, piece: Piece, out: Tensor) -> None:
    if out.storage_offset() % ITEM_BYTES[piece.entry.dtype] == 0:
        merger.block(piece.entry.name, piece.number, out.view(DTYPES[piece.entry.dtype]))
    else:  # behind a tensor of odd length
        out.copy_(merger.block(piece.entry.name, piece.number).view(torch.uint8))
