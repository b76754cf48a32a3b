"""Nested merging: items are merged in pairs, level by level, and stay linear combinations of the tuned models throughout."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from surrogate.aims import Aim, goal_of
from surrogate.errors import InvalidRequestError
from surrogate.history import FittedSurrogate
from surrogate.landscape import scored_landscape
from surrogate.scalarise import Range

# Points an axis: the first grid covers the box, each further one the neighbours of the best point so far.
GRIDS = (33, 9, 9, 9)


@dataclass(frozen=True)
class Item:
    """A merge on the way to the final one: `coefficients` over the N tuned models, and the tasks it has to serve, ascending."""

    coefficients: Tensor
    tasks: tuple[int, ...]


def first_items(tuned: int) -> tuple[Item, ...]:
    """Each of `tuned` models alone, serving its own task: what the first level pairs."""
    alone = torch.eye(tuned, dtype=torch.float64)
    return tuple(Item(row, (index,)) for index, row in enumerate(alone))


def merge_items(left: Item, right: Item, coefficients: Tensor) -> Item:
    """The item θ0 + a·(left - θ0) + b·(right - θ0) for `coefficients` (a, b): again a combination of the originals."""
    if coefficients.shape != (2,):
        raise InvalidRequestError(f"two items merge by two coefficients, not {tuple(coefficients.shape)}")
    a, b = coefficients
    return Item(a * left.coefficients + b * right.coefficients, tuple(sorted(left.tasks + right.tasks)))


def choose_on_plane(fits: Mapping[str, FittedSurrogate], directions: Mapping[str, bool], aim: Aim, low: float, high: float) -> Tensor:
    """The two coefficients in [low, high]² that serve `aim` best by the smoothed predicted scores: a grid, then finer ones around its best.

    `fits`: a surrogate of two coefficients a task, in the order of the aim's vectors; `directions`: whether larger is better. Returns 2,
    to within a ten-thousandth of the box. Raises InvalidRequestError for vectors that are not a number a task.
    """
    landscape = scored_landscape(list(fits.values()))
    signs = torch.tensor([1.0 if directions[task] else -1.0 for task in fits], dtype=torch.float64)
    goal = goal_of(aim, list(fits), signs, Range(torch.zeros_like(signs), torch.ones_like(signs)))
    best, reach = torch.full((2,), (low + high) / 2, dtype=torch.float64), (high - low) / 2
    for size in GRIDS:
        axis = torch.linspace(-reach, reach, size, dtype=torch.float64)
        grid = (best + torch.cartesian_prod(axis, axis)).clamp(low, high)
        best = grid[goal.loss(landscape.heights(grid)).argmin()]
        reach *= 2 / (size - 1)
    return best


def pair_items(scores: Tensor) -> tuple[tuple[int, ...], ...]:
    """Pairs of indices with the least total difference of `scores` (n items, one score each); of odd n one index stays alone.

    Sorted neighbours are the optimal pairing of numbers; who stays alone is chosen so that the others lie closest. Pairs come
    in the order of their first index. ceil(log2 n) rounds leave one item.
    """
    if scores.ndim != 1 or not bool(torch.isfinite(scores).all()):
        raise InvalidRequestError("items are paired by one finite score each")
    order = scores.argsort(stable=True)
    spare = [_without(order, skipped) for skipped in range(0, len(order), 2)] if len(order) % 2 else [order]
    best = min(spare, key=lambda kept: float((scores[kept[1::2]] - scores[kept[::2]]).sum()))
    pairs = [tuple(sorted(pair)) for pair in best.view(-1, 2).tolist()]
    alone = [(index,) for index in order.tolist() if index not in best]
    return tuple(sorted(pairs + alone))


def _without(order: Tensor, position: int) -> Tensor:
    return torch.cat([order[:position], order[position + 1 :]])
