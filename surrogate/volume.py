"""Few points in place of many: those that together dominate most.

A direction asks a point how far it goes before one of its scores gives in. Over random directions the mean of the best answers, to the
power of the number of tasks, is the hypervolume (Golovin & Zhang 2020, arXiv 2006.04655): max over points of
min_t (score_t - reference_t) / direction_t.
"""

import heapq
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from surrogate.errors import InvalidRequestError
from surrogate.figures import reference_point
from surrogate.pareto import distinct_rows, require_finite, thin

DIRECTIONS = 4096
# Rows or directions compared at once: what they need stays in the processor's cache.
BLOCK = 16
# A direction that ignores a task would divide by zero.
FLATTEST = 1e-3
# The best of every task stays where those are at most this share of the points; else they would be nearly all that is shown.
ENDS = 0.25


def even_directions(tasks: int, count: int, seed: int) -> Tensor:
    """`count` directions spread over the positive part of the unit sphere, count x T."""
    normal = torch.randn(count, tasks, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).abs()
    unit: Tensor = normal / torch.linalg.vector_norm(normal, dim=1, keepdim=True)
    return unit.clamp_min(FLATTEST)


def reach(scores: Tensor, directions: Tensor) -> Tensor:
    """How far each of `scores` (n x T, from the reference, in units of the range) goes in each of k `directions`: n x k, float32."""
    slopes = (1.0 / directions.T).float().contiguous()
    return torch.cat([_least(block, slopes) for block in torch.split(scores.float(), BLOCK)])


def farthest(scores: Tensor, directions: Tensor) -> Tensor:
    """The row of `scores`, as `reach` takes them, that goes farthest in each of k `directions`; k."""
    rows = scores.T.float().contiguous()
    return torch.cat([_least(block, rows).argmax(1) for block in torch.split((1.0 / directions).float(), BLOCK)])


def scale_to_range(scores: Tensor) -> Tensor:
    """`scores`, n x T, from the reference point of hypervolumes, in units of each task's range from there; zeros where all are equal."""
    reference = reference_point(scores)
    extent = scores.amax(0) - reference
    return (scores - reference) / torch.where(extent > 0, extent, 1.0)


def cover(scores: Tensor, count: int, first: Sequence[int] = ()) -> Tensor:
    """Indices, ascending, of at most `count` rows of `scores` (n x T, a front) that leave little hypervolume out.

    Greedy by DIRECTIONS directions, which loses at most 1/e of what the best choice covers; beginning with the rows `first`, and with
    the best of every task where they are at most a quarter of `count`. Rows that add nothing come last, spread evenly; equal rows are
    picked once. Raises InvalidRequestError for scores that are not finite and for a count below one.
    """
    require_finite(scores)
    if count < 1:
        raise InvalidRequestError(f"a front is thinned to at least one point, not {count}")
    given = distinct_rows(scores, [*first, *_ends(scores, count)])[:count]
    varied = scores[:, scores.amax(0) > scores.amin(0)] if len(scores) else scores[:, :0]
    picked = _pick_greedily(varied, count, given) if varied.shape[1] else given
    return thin(scores, count, picked)


def _ends(scores: Tensor, count: int) -> list[int]:
    best: list[int] = scores.argmax(0).tolist() if len(scores) else []
    return best if len(set(best)) <= ENDS * count else []


def _pick_greedily(scores: Tensor, count: int, given: Sequence[int]) -> list[int]:
    """`given`, and the rows whose volume adds most to those before them, as long as it adds any.

    What a row adds falls as others come, so that only the row that seemed best last time is asked again (Minoux 1978).
    """
    volumes = _volumes(scores)
    picked = list(given)
    covered = volumes[picked].max(0) if picked else np.zeros_like(volumes[0])
    added = np.empty_like(covered)

    def gain_of(row: int) -> float:
        np.subtract(volumes[row], covered, out=added)
        return float(np.maximum(added, 0.0, out=added).sum())

    waiting = [(-gain_of(row), row) for row in range(len(volumes))]
    heapq.heapify(waiting)
    while len(picked) < count and waiting:
        row = heapq.heappop(waiting)[1]
        gain = gain_of(row)
        if waiting and gain < -waiting[0][0]:
            heapq.heappush(waiting, (-gain, row))
        elif gain > 0.0:
            picked.append(row)
            np.maximum(covered, volumes[row], out=covered)
        else:
            break
    return picked


def _volumes(scores: Tensor) -> NDArray[np.float32]:
    """How far each of `scores`, n x T, goes in each of DIRECTIONS directions, to the power T: n x DIRECTIONS."""
    reached = reach(scale_to_range(scores), even_directions(scores.shape[1], DIRECTIONS, 0))
    # not a power, which rounds the last elements of an array otherwise: equal rows have to stay equal
    volumes = reached.clone()
    for _ in range(scores.shape[1] - 1):
        volumes *= reached
    found: NDArray[np.float32] = volumes.numpy()
    return found


def _least(left: Tensor, right: Tensor) -> Tensor:
    """Of the products of `left`, m x T, and `right`, T x k, over T the least: m x k."""
    least = left[:, :1] * right[0]
    for task in range(1, len(right)):
        torch.minimum(least, left[:, task : task + 1] * right[task], out=least)
    return least
