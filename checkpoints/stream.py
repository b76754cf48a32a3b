"""A merge as files that nobody has written: sizes known up front, any range of bytes computed when it is read.

A merge lies in the layout of its base: the same files with the same headers, byte for byte, so names, sizes and the shard index
are the base's, and only the bytes of merged tensors differ.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import torch

from checkpoints.ahead import map_ahead
from checkpoints.combine import Merge
from checkpoints.digest import digest_layout
from checkpoints.layout import WeightFile
from checkpoints.segments import Segment, SegmentMerger, cut_segments
from checkpoints.transforms.spec import NoTransform, Transform

Step = Callable[[], memoryview]
"""Gives the next bytes of a file."""

# belongs to the identity of a merge: to be raised whenever the same inputs give other bytes
ARITHMETIC = "float64 sums, version 2"


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
        """The bytes [begin, end), clipped to the file, in chunks that stay valid. Only blocks in the range are computed.

        Two reads give the same bytes, however a range is cut. As many threads as torch may use work on the chunks that come
        next. Raises NotFiniteError as BlockMerger.block does.
        """
        for _, chunk in map_ahead(_take, self.steps(begin, end), torch.get_num_threads()):
            yield chunk

    def steps(self, begin: int = 0, end: int | None = None) -> Iterator[Step]:
        """The same chunks, each as a step that computes it when it is called, on any thread: for readers that deal out the work."""
        begin, end = max(begin, 0), self.size if end is None else min(end, self.size)
        if begin >= end:
            return
        if begin < self.source.header.data_begin:
            yield partial(self._header, begin, end)
        merger = SegmentMerger(self.merge)
        for segment in cut_segments(self.source.header.tensors.values(), begin, end):
            yield partial(_compute, merger, segment, begin, end)

    def _header(self, begin: int, end: int) -> memoryview:
        with self.source.path.open("rb") as file:
            return memoryview(file.read(self.source.header.data_begin)[begin:end])


def _take(step: Step) -> memoryview:
    return step()


def _compute(merger: SegmentMerger, segment: Segment, begin: int, end: int) -> memoryview:
    return merger(segment)[max(begin - segment.begin, 0) : end - segment.begin]


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
