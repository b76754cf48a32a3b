"""Datasets: examples in memory or mapped, and what they should be answered with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Texts:
    """n texts; `second` where every example is a pair."""

    first: tuple[str, ...]
    second: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.first)

    def take(self, rows: NDArray[np.int64]) -> "Texts":
        """The examples of these rows, in their order."""
        second = None if self.second is None else tuple(self.second[row] for row in rows)
        return Texts(tuple(self.first[row] for row in rows), second)


@dataclass(frozen=True)
class Arrays:
    """Named inputs, each n x ...; a lone input is called `inputs`. At least one, all of one length, perhaps maps of a file: read only."""

    columns: Mapping[str, Array]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def take(self, rows: NDArray[np.int64]) -> "Arrays":
        """The examples of these rows, in their order, copied."""
        return Arrays({name: column[rows] for name, column in self.columns.items()})


@dataclass(frozen=True)
class Dataset:
    """n examples. `targets`: integers or floats, n (or n x q for regression), or n names of classes; None where there are none."""

    inputs: Texts | Arrays
    targets: Array | tuple[str, ...] | None

    def __len__(self) -> int:
        return len(self.inputs)
