"""Accuracy of affine leads at half the rate of the product that gives them, or more: blocks that stay in a core's own cache.

After the product an example costs a comparison and an AND of single bytes a class, and an addition a coefficient vector. numpy does these
several times faster than torch, on the same memory.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# Coefficient vectors in a block.
VECTORS = 128
# Leads of a block: with their comparisons they fill about three quarters of a core's cache of 1 MB.
BLOCK_BYTES = 576 * 2**10
# What a byte can count.
MOST_EXAMPLES = 255


@dataclass(frozen=True)
class Tally:
    """Leads that are affine in the coefficients, in blocks of examples. Built by `tally_of`.

    `parts`: e x (q - 1) leads each, (q - 1)e x (D + 1), class after class: what 1 and the coefficients contribute. `examples`: of all.
    """

    parts: tuple[Tensor, ...]
    classes: int
    examples: int

    def share_right(self, rows: Tensor) -> Tensor:
        """Share of the examples whose leads are all negative, n, float64. `rows`: 1 and the coefficients, n x (D + 1)."""
        columns = rows.float().T
        blocks = [columns[:, first : first + VECTORS].contiguous() for first in range(0, len(rows), VECTORS)]
        threads = min(torch.get_num_threads(), len(blocks))
        if threads <= 1:
            counts = list(self._counts(blocks))
        else:
            shares = [blocks[number::threads] for number in range(threads)]
            # one thread a product: threads that share one wait for each other
            with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                counted = list(pool.map(lambda share: list(self._counts(share)), shares))
            counts = [counted[number % threads][number // threads] for number in range(len(blocks))]
        return torch.from_numpy(np.concatenate(counts)) / self.examples if counts else torch.zeros(0, dtype=torch.float64)

    def _counts(self, blocks: list[Tensor]) -> Iterator[np.ndarray]:
        """Right examples by vector, float64, block after block."""
        desks: dict[tuple[int, int], _Desk] = {}
        for block in blocks:
            total = np.zeros(block.shape[1])
            for part in self.parts:
                size = len(part), block.shape[1]
                if size not in desks:
                    desks[size] = _desk(self.classes, *size)
                total += _count(part, block, desks[size])
            yield total


@dataclass(frozen=True)
class _Desk:
    """Working memory for one size of block: the same memory seen as what torch and numpy make of it."""

    product: Tensor
    leads: np.ndarray
    negative: np.ndarray
    classes: np.ndarray
    right: np.ndarray


def _desk(classes: int, rows: int, width: int) -> _Desk:
    product, negative = torch.empty(rows, width), np.empty((rows, width), dtype=np.bool_)
    by_class = negative.view(np.uint8).reshape(classes, -1, width)
    return _Desk(product, product.numpy(), negative, by_class, np.empty(by_class.shape[1:], dtype=np.uint8))


def _count(part: Tensor, block: Tensor, desk: _Desk) -> np.ndarray:
    torch.mm(part, block, out=desk.product)
    np.less(desk.leads, 0.0, out=desk.negative)
    np.bitwise_and.reduce(desk.classes, axis=0, out=desk.right)
    return np.asarray(np.add.reduce(desk.right, axis=0, dtype=np.uint8))


def tally_of(parts: Tensor) -> Tally:
    """The tally of leads (D + 1) x (q - 1) x m: those of the origin, then what each coefficient adds."""
    classes, examples = parts.shape[1:]
    size = min(MOST_EXAMPLES, max(1, BLOCK_BYTES // (4 * VECTORS * classes)))
    # blocks of one size: a short last one costs as many calls
    count = -(-examples // size)
    chunks = parts.float().tensor_split(count, 2)
    return Tally(tuple(chunk.flatten(1).T.contiguous() for chunk in chunks), classes, examples)
