"""Finds tuned checkpoints that add nothing to a model set: equal to the base, or to each other."""

from collections.abc import Iterator
from itertools import combinations

import torch
from torch import Tensor

from checkpoints.task_vectors import TaskVectors

SAMPLE = 4096
BLOCK = 1 << 20


def find_twins(vectors: TaskVectors) -> list[str]:
    """Name every task vector that is zero and every pair that is equal, element by element, as one sentence each.

    Looks at the first elements of every tensor, then at all of them, and stops as soon as every vector is told from every other:
    for checkpoints that were trained at all this reads a few kilobytes.
    """
    suspects = set(combinations(range(-1, len(vectors.tuned)), 2))  # -1 stands for the base, whose task vector is zero
    for block in _blocks(vectors):
        suspects = {pair for pair in suspects if torch.equal(*(_row(block, number) for number in pair))}
        if not suspects:
            break
    return [_sentence(vectors.tuned, pair) for pair in sorted(suspects)]


def _blocks(vectors: TaskVectors) -> Iterator[Tensor]:
    for tensor, size in vectors.sizes.items():
        yield vectors.deltas(tensor, 0, min(size, SAMPLE))
    for tensor, size in vectors.sizes.items():
        for start in range(SAMPLE, size, BLOCK):
            yield vectors.deltas(tensor, start, min(size, start + BLOCK))


def _row(block: Tensor, number: int) -> Tensor:
    return block[number] if number >= 0 else torch.zeros(block.shape[1])


def _sentence(tuned: tuple[str, ...], pair: tuple[int, int]) -> str:
    left, right = pair
    if left < 0:
        return f"{tuned[right]}: holds the base's own weights; a tuned checkpoint must differ from the base"
    return f"{tuned[left]} and {tuned[right]} hold the same weights; name each tuned checkpoint once"
