"""Which transform the task vectors go through before they are scaled and added."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Scope(StrEnum):
    """What a density counts over when small entries are trimmed.

    MODEL: the whole task vector at once, as TIES is published (arXiv 2306.01708, section 4). TENSOR: every tensor by
    itself, as mergekit does, so that such a point can be written as its recipe.
    """

    MODEL = "model"
    TENSOR = "tensor"


@dataclass(frozen=True, slots=True)
class NoTransform:
    """Task arithmetic: the task vectors as they are."""


@dataclass(frozen=True, slots=True)
class Magnitude:
    """Keep the `density` share of entries that is largest by magnitude, in (0, 1]; entries equal to the last kept stay too."""

    density: float
    scope: Scope = Scope.MODEL

    def __post_init__(self) -> None:
        _check_density(self.density)


@dataclass(frozen=True, slots=True)
class Ties:
    """Trim, elect a sign, average what agrees (arXiv 2306.01708); `density` in (0, 1] is the share that trimming keeps."""

    density: float
    scope: Scope = Scope.MODEL

    def __post_init__(self) -> None:
        _check_density(self.density)


@dataclass(frozen=True, slots=True)
class Dare:
    """Drop entries at random with rate `drop` in [0, 1) and rescale the rest (arXiv 2311.03099); `seed` is not negative."""

    drop: float
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.drop < 1.0:
            raise ValueError(f"drop must lie in [0, 1), got {self.drop}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")


Transform = NoTransform | Magnitude | Ties | Dare


def name_transform(name: Literal["none", "ties", "magnitude", "dare"], density: float, drop: float, seed: int) -> Transform:
    """The transform of that name; of the numbers it takes those that mean something to it. Raises ValueError."""
    match name:
        case "none":
            return NoTransform()
        case "ties":
            return Ties(density)
        case "magnitude":
            return Magnitude(density)
        case "dare":
            return Dare(drop, seed)


def _check_density(density: float) -> None:
    if not 0.0 < density <= 1.0:
        raise ValueError(f"density must lie in (0, 1], got {density}")
