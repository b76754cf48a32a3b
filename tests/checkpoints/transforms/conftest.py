"""Task vectors held in memory, and ways to cut them into blocks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from checkpoints.task_vectors import BlockTransform


@dataclass(frozen=True)
class ArrayVectors:
    """Task vectors of N x size tensors by name; says how many entries were read."""

    tensors: Mapping[str, Tensor]

    @property
    def tuned(self) -> tuple[str, ...]:
        return tuple(f"tuned{row}" for row in range(len(next(iter(self.tensors.values())))))

    @property
    def sizes(self) -> Mapping[str, int]:
        return {name: tensor.shape[1] for name, tensor in self.tensors.items()}

    def deltas(self, tensor: str, start: int, stop: int) -> Tensor:
        return self.tensors[tensor][:, start:stop].clone()


def apply_in_blocks(transform: BlockTransform, vectors: ArrayVectors, block: int) -> dict[str, Tensor]:
    return {
        name: torch.cat(
            [transform.apply(name, start, vectors.deltas(name, start, min(size, start + block))) for start in range(0, size, block)], dim=1
        )
        for name, size in vectors.sizes.items()
    }


@pytest.fixture(scope="session")
def in_memory() -> type[ArrayVectors]:
    return ArrayVectors


@pytest.fixture(scope="session")
def in_blocks() -> Callable[[BlockTransform, ArrayVectors, int], dict[str, Tensor]]:
    return apply_in_blocks


@pytest.fixture(scope="session")
def draw_vectors() -> Callable[..., ArrayVectors]:
    def draw(seed: int, count: int = 3, sizes: tuple[int, ...] = (40, 7, 1), quantised: bool = False) -> ArrayVectors:
        generator = torch.Generator().manual_seed(seed)
        rows = [torch.randn(count, size, generator=generator) * 10.0 ** (-number) for number, size in enumerate(sizes)]
        if quantised:  # as deltas of bfloat16 checkpoints are: few distinct values, many of them equal, many zero
            rows = [torch.round(tensor * 4) / 4 for tensor in rows]
        return ArrayVectors({f"layer.{number}": tensor for number, tensor in enumerate(rows)})

    return draw
