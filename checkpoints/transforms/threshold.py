"""The magnitude that splits the largest share from the rest, exactly, without sorting and in bounded memory.

Magnitudes of float32 order as their bit patterns do, so the k-th largest is found by counting patterns: one pass over the
task vectors counts what lies above a bracket and fills a histogram of what lies inside it. The bracket comes from a small
stratified sample, so that nearly always one pass is enough and few entries reach the histogram; a sample that misleads
costs further passes, never the answer.
"""

import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from checkpoints.task_vectors import TaskVectors

_BLOCK = 1 << 15  # elements: N rows of float32 stay in the second-level cache
_DIRECT = 1 << 17  # pools up to here are partitioned in memory
_BINS = 1 << 20  # per task vector: 8 MB of counts
_RUNS = 2048  # places at which the sample is drawn
_RUN = 64  # elements drawn at each
_MARGIN = 0.01  # of rank, to each side of the sample's quantile: some six standard errors
_INFINITY = 0x7F800000  # pattern of float32 infinity: above every finite magnitude

Block = tuple[str, int, int]
Bits = NDArray[np.int32]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Cut:
    """`thresholds`: N, float32, the magnitude of the last entry within the density; `cuts_ties`: more entries equal it than fit."""

    thresholds: Tensor
    cuts_ties: bool


def find_cut(vectors: TaskVectors, pool: Sequence[str], density: float) -> Cut:
    """Where to cut each of the N task vectors so that `density` of its entries in the tensors of `pool` are kept.

    At least one entry is kept. Time: one pass over the pool, seldom more; memory: some 10 MB per task vector and thread.
    """
    total = sum(vectors.sizes[name] for name in pool)
    keep = max(1, int(density * total))
    if keep >= total:
        return Cut(torch.zeros(len(vectors.tuned)), cuts_ties=False)
    if total <= _DIRECT:
        patterns, kept = _partition(_read(vectors, _whole(vectors, pool)), keep)
    else:
        patterns, kept = _count_down(vectors, pool, keep, total)
    return Cut(torch.from_numpy(patterns.view(np.float32)), cuts_ties=bool((kept > keep).any()))


def _partition(bits: Bits, keep: int) -> tuple[Bits, Counts]:
    """The pattern of rank `keep` from the top in each row, and how many entries reach it."""
    rank = bits.shape[1] - keep
    patterns = np.partition(bits, rank, axis=1)[:, rank]
    return patterns, np.count_nonzero(bits >= patterns[:, None], axis=1)


def _count_down(vectors: TaskVectors, pool: Sequence[str], keep: int, total: int) -> tuple[Bits, Counts]:
    """Narrow a bracket [low, high) of patterns around the sought one of every row until it holds that one alone."""
    brackets = [_Bracket(0, _INFINITY) for _ in vectors.tuned]
    probes = _sampled(vectors, pool, keep / total)
    while not all(bracket.found for bracket in brackets):
        above, histograms = _count(vectors, pool, probes)
        brackets = [
            bracket if bracket.found else bracket.narrowed(probe, keep, int(beyond), histogram)
            for bracket, probe, beyond, histogram in zip(brackets, probes, above, histograms, strict=True)
        ]
        probes = brackets
    patterns = np.array([bracket.low for bracket in brackets], dtype=np.int32)
    return patterns, np.array([bracket.reaching for bracket in brackets], dtype=np.int64)


@dataclass(frozen=True)
class _Bracket:
    """Patterns [low, high); `reaching` counts the entries at or above `low`, once that is known."""

    low: int
    high: int
    reaching: int = 0

    @property
    def found(self) -> bool:
        return self.high - self.low == 1 and self.reaching > 0

    @property
    def shift(self) -> int:
        """How many low bits of a pattern are ignored for the bracket to fit the histogram."""
        return max(0, (self.high - self.low - 1).bit_length() - _BINS.bit_length() + 1)

    def narrowed(self, probe: "_Bracket", keep: int, above: int, histogram: Counts) -> "_Bracket":
        """The part of this bracket that holds rank `keep`, after counting `above` and inside `probe`."""
        if above >= keep:
            return _Bracket(probe.high, self.high)
        reaching = above + np.cumsum(histogram[::-1])
        if reaching[-1] < keep:
            return _Bracket(self.low, probe.low)
        step = int(np.searchsorted(reaching, keep))
        low = probe.low + ((len(histogram) - 1 - step) << probe.shift)
        return _Bracket(low, min(low + (1 << probe.shift), probe.high), int(reaching[step]))


def _count(vectors: TaskVectors, pool: Sequence[str], probes: Sequence[_Bracket]) -> tuple[Counts, list[Counts]]:
    """One pass over the pool on all of torch's threads: entries above each probe, and the histogram inside it."""
    blocks = list(_blocks(vectors, pool))
    workers = max(1, min(torch.get_num_threads(), len(blocks) // 8))
    with ThreadPoolExecutor(workers) as threads:
        parts = list(threads.map(lambda first: _count_blocks(vectors, blocks[first::workers], probes), range(workers)))
    above = np.sum([part[0] for part in parts], axis=0)
    return above, [np.sum(rows, axis=0) for rows in zip(*(part[1] for part in parts), strict=True)]


def _count_blocks(vectors: TaskVectors, blocks: Iterable[Block], probes: Sequence[_Bracket]) -> tuple[Counts, list[Counts]]:
    above = np.zeros(len(probes), dtype=np.int64)
    histograms = [np.zeros(((probe.high - probe.low - 1) >> probe.shift) + 1, dtype=np.int64) for probe in probes]
    for block in blocks:
        for row, (bits, probe, histogram) in enumerate(zip(_read(vectors, [block]), probes, histograms, strict=True)):
            beyond = bits >= np.int32(probe.high)
            above[row] += np.count_nonzero(beyond)
            inside = bits.compress((bits >= np.int32(probe.low)) ^ beyond)
            np.add.at(histogram, (inside - np.int32(probe.low)) >> probe.shift, 1)
    return above, histograms


def _sampled(vectors: TaskVectors, pool: Sequence[str], share: float) -> list[_Bracket]:
    """Brackets that very likely hold the pattern which `share` of each task vector's entries reach."""
    bits = np.sort(_read(vectors, list(_strata(vectors, pool))), axis=1)
    size = bits.shape[1]
    first = max(0, math.floor((1.0 - share - _MARGIN) * size))
    last = min(size - 1, math.ceil((1.0 - share + _MARGIN) * size))
    return [_Bracket(int(row[first]) if first else 0, int(row[last]) + 1 if last < size - 1 else _INFINITY) for row in bits]


def _strata(vectors: TaskVectors, pool: Sequence[str]) -> Iterable[Block]:
    """Short runs at a random place in each of equally large strata: an even stride would meet the same columns again and again."""
    sizes = np.array([vectors.sizes[name] for name in pool])
    ends = np.cumsum(sizes)
    edges = np.linspace(0, int(ends[-1]), _RUNS + 1, dtype=np.int64)
    places = np.random.default_rng(0).integers(edges[:-1], edges[1:])
    for place, owner in zip(places, np.searchsorted(ends, places, side="right"), strict=True):
        start = int(place - (ends[owner] - sizes[owner]))
        yield pool[owner], start, min(start + _RUN, int(sizes[owner]))


def _blocks(vectors: TaskVectors, pool: Sequence[str]) -> Iterable[Block]:
    for name in pool:
        for start in range(0, vectors.sizes[name], _BLOCK):
            yield name, start, min(start + _BLOCK, vectors.sizes[name])


def _whole(vectors: TaskVectors, pool: Sequence[str]) -> list[Block]:
    return [(name, 0, vectors.sizes[name]) for name in pool]


def _read(vectors: TaskVectors, blocks: Sequence[Block]) -> Bits:
    """Bit patterns of |v| over the blocks, one after the other: N x elements."""
    parts = [vectors.deltas(*block).numpy() for block in blocks]
    deltas = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    bits: Bits = np.abs(deltas, out=deltas).view(np.int32)
    return bits
