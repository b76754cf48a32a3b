"""Accuracy and softmax probability of mixed leads in one compiled pass: product, maximum, exponential and sums near the product's rate.

Leads of a few hundred mixtures and sixteen examples at a time are followed through the rival classes while they stay in a core's first
caches; a tensor library writes all of them to memory and reads them again for every sign of the formula. Examples are cut into parts of
fixed length whose sums are added in order, so that results do not depend on the number of threads.
"""

from typing import Any

import numpy as np
import torch
from numba import types
from numba.extending import intrinsic, register_jitable
from numpy.typing import NDArray
from torch import Tensor

from surrogate.compiled import in_parallel, kept
from surrogate.tile import ROWS, SINGLES, group_rows, multiply_tile

# Mixtures that are followed together: their weights, at most so many bytes, and their sums fit into a core's second cache.
TOGETHER, WEIGHT_BYTES = 384, 192 * 2**10
# Examples of one part: what a thread takes at a time.
PART = 256
# Below so many multiplications threads cost more than they save.
WORTH_THREADS = 2**24
# Exponents are cut here where slopes are taken: an infinite one times a vanishing probability would be no number.
LARGEST_EXPONENT = 60.0

Area = tuple[slice, slice]


def read_leads(weights: Tensor, leads: Tensor, smooth: bool) -> tuple[Tensor, Tensor]:
    """Of weights @ leads, n x K and K x (q - 1) x m: the share of examples whose leads are all negative, n, and, where `smooth`, the mean
    probability of the right class, n, of float64; zeros otherwise. `leads`: float32, C-contiguous."""
    rows, values = np.ascontiguousarray(weights.double().numpy()), leads.numpy()
    hits, sums = (np.zeros((-(-leads.shape[2] // PART), len(rows))) for _ in range(2))

    def read(area: Area) -> None:
        part, block = area
        number = part.start // PART
        _read(rows[block], values, part.start, part.stop, smooth, hits[number, block], sums[number, block])

    _spread(read, rows, leads)
    return torch.from_numpy(hits.sum(0) / leads.shape[2]), torch.from_numpy(sums.sum(0) / leads.shape[2])


def differentiate_probability(weights: Tensor, leads: Tensor) -> tuple[Tensor, Tensor]:
    """The mean probability of the right class, n, and its slopes by the mixed leads, n x (q - 1) x m, float32; arguments as above."""
    rows, values = np.ascontiguousarray(weights.double().numpy()), leads.numpy()
    sums = np.zeros((-(-leads.shape[2] // PART), len(rows)))
    slopes = np.empty((len(rows), *values.shape[1:]), dtype=np.float32)

    def read(area: Area) -> None:
        part, block = area
        _read_slopes(rows[block], values, part.start, part.stop, sums[part.start // PART, block], slopes[block])

    _spread(read, rows, leads)
    return torch.from_numpy(sums.sum(0) / leads.shape[2]), torch.from_numpy(slopes)


def _spread(read: Any, rows: NDArray[np.float64], leads: Tensor) -> None:
    areas = [(part, block) for block in _blocks(len(rows), len(leads)) for part in _parts(leads.shape[2])]
    if len(rows) * leads.numel() < WORTH_THREADS:
        for area in areas:
            read(area)
    else:
        in_parallel(read, areas)


def _parts(examples: int) -> list[slice]:
    return [slice(start, min(start + PART, examples)) for start in range(0, examples, PART)]


def _blocks(count: int, trials: int) -> list[slice]:
    """Rows in blocks of equal length, of whole groups."""
    most = max(8 * ROWS, min(TOGETHER, WEIGHT_BYTES // (4 * trials)))
    length = -(-count // max(1, -(-count // most)))
    length = max(1, -(-length // ROWS)) * ROWS
    return [slice(start, min(start + length, count)) for start in range(0, count, length)]


_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}


@kept(**_OPTIONS)
def _read(weights: Any, leads: Any, begin: int, end: int, smooth: bool, hits: Any, sums: Any) -> None:
    """Adds up, for every row of `weights`, the right ones of the examples [begin, end) into `hits` and probabilities into `sums`."""
    trials, rivals = leads.shape[0], leads.shape[1]
    rows, panel, tile = _lay_out(weights)
    groups = len(rows)
    best, total = np.empty((groups, ROWS * SINGLES), np.float32), np.empty((groups, ROWS * SINGLES), np.float32)
    for start in range(begin, end, SINGLES):
        best[:] = np.float32(-np.inf)
        total[:] = np.float32(1.0)
        for rival in range(rivals):
            _fill_panel(leads, rival, start, end, panel)
            for group in range(groups):
                multiply_tile(rows, group, panel, trials, tile)
                for lane in range(ROWS * SINGLES):
                    best[group, lane] = tile[lane] if tile[lane] > best[group, lane] else best[group, lane]
                if smooth:
                    for lane in range(ROWS * SINGLES):
                        total[group, lane] += _exponential(tile[lane])
        count = min(SINGLES, end - start)
        for row in range(len(weights)):
            group, first = row // ROWS, row % ROWS * SINGLES
            right, probability = 0, 0.0
            for lane in range(count):
                right += 1 if best[group, first + lane] < 0.0 else 0
            hits[row] += right
            if smooth:
                for lane in range(count):
                    probability += np.float64(np.float32(1.0) / total[group, first + lane])
                sums[row] += probability


@kept(**_OPTIONS)
def _read_slopes(weights: Any, leads: Any, begin: int, end: int, sums: Any, slopes: Any) -> None:
    """Adds up probabilities into `sums`, and writes what their mean over all examples changes with each lead into `slopes`."""
    trials, rivals, examples = leads.shape
    rows, panel, tile = _lay_out(weights)
    groups = len(rows)
    each, total = np.empty((rivals, groups, ROWS * SINGLES), np.float32), np.empty((groups, ROWS * SINGLES), np.float32)
    for start in range(begin, end, SINGLES):
        total[:] = np.float32(1.0)
        for rival in range(rivals):
            _fill_panel(leads, rival, start, end, panel)
            for group in range(groups):
                multiply_tile(rows, group, panel, trials, tile)
                for lane in range(ROWS * SINGLES):
                    power = _exponential(min(tile[lane], np.float32(LARGEST_EXPONENT)))
                    total[group, lane] += power
                    each[rival, group, lane] = power if tile[lane] <= np.float32(LARGEST_EXPONENT) else np.float32(0.0)
        for row in range(len(weights)):
            group, first = row // ROWS, row % ROWS * SINGLES
            for lane in range(min(SINGLES, end - start)):
                share = np.float32(1.0) / total[group, first + lane]
                sums[row] += np.float64(share)
                fall = -share * share / np.float32(examples)
                for rival in range(rivals):
                    slopes[row, rival, start + lane] = fall * each[rival, group, first + lane]


@register_jitable
def _lay_out(weights: Any) -> Any:
    """The weights in groups of rows, and room for a panel and a tile."""
    count, trials = weights.shape
    rows = np.empty(((count + ROWS - 1) // ROWS, trials, ROWS), np.float32)
    group_rows(weights, 0, count, rows)
    return rows, np.empty((trials, SINGLES), np.float32), np.empty(ROWS * SINGLES, np.float32)


@register_jitable
def _fill_panel(leads: Any, rival: int, start: int, end: int, panel: Any) -> None:
    """Leads of all trials for one rival and SINGLES examples; zero from `end` on."""
    # an index without a sign cannot count from the end: eight of them are then read at once
    first, count = np.uint64(start), min(SINGLES, end - start)
    for trial in range(leads.shape[0]):
        if count == SINGLES:
            for lane in range(SINGLES):
                panel[trial, lane] = leads[trial, rival, first + np.uint64(lane)]
        else:
            for lane in range(SINGLES):
                panel[trial, lane] = leads[trial, rival, first + np.uint64(lane)] if lane < count else np.float32(0.0)


@intrinsic
def _single(typing: Any, bits: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.float32))

    return types.float32(types.int32), generate


# Added to a number below 2^22 it leaves no bits behind the point: what is subtracted again is the nearest integer.
_POINT = np.float32(1.5 * 2**23)


@register_jitable
def _exponential(x: Any) -> Any:
    """exp(x) to a unit or two of float32; below -87 and above 88 that of the nearest of them."""
    x = min(max(x, np.float32(-87.0)), np.float32(88.0))
    whole = np.float32(np.float32(x * np.float32(1.4426950408889634) + _POINT) - _POINT)
    # log 2 in two parts, the first of few bits, so that nothing is lost; the rest's exponential by its Taylor polynomial
    rest = np.float32(np.float32(x - whole * np.float32(0.693359375)) + whole * np.float32(2.12194440e-4))
    series = np.float32(1 / 5040)
    series = series * rest + np.float32(1 / 720)
    series = series * rest + np.float32(1 / 120)
    series = series * rest + np.float32(1 / 24)
    series = series * rest + np.float32(1 / 6)
    series = series * rest + np.float32(0.5)
    series = series * rest * rest + rest + np.float32(1.0)
    return np.float32(series * _single(np.int32(np.int32(np.int32(whole) + np.int32(127)) << np.int32(23))))
