"""Candidates: Pareto-optimal merges of a study as its surrogates predict them, close enough together to choose from."""

from collections.abc import Mapping
from dataclasses import dataclass

Rows = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Candidates:
    """n merges of a study of T tasks. Scores are in the metric's own sign and unit, in the order of `tasks`.

    `coefficients`: n x D. `mean`, `low`, `high`: n x T, the predicted score and its 95 % interval. `smoothed`: n x T, the score without
    the metric's steps, on which choices are made. `maximize`: T. `ideal`, `nadir`: T, scores that count as perfect and as worthless.
    """

    columns: tuple[str, ...]
    tasks: tuple[str, ...]
    maximize: tuple[bool, ...]
    ideal: tuple[float, ...]
    nadir: tuple[float, ...]
    coefficients: Rows
    mean: Rows
    low: Rows
    high: Rows
    smoothed: Rows


@dataclass(frozen=True)
class Weights:
    """How much each task matters, by task: the worst weighted relative loss against the tasks' own models is made small."""

    weights: Mapping[str, float]


@dataclass(frozen=True)
class Target:
    """Scores to reach or pass evenly, by task, in the metrics' own sign."""

    scores: Mapping[str, float]


@dataclass(frozen=True)
class Balance:
    """The knee: the largest mean of the scores relative to the tasks' own models."""


@dataclass(frozen=True)
class Best:
    """The best score of one task, within the constraints."""

    task: str


Wish = Weights | Target | Balance | Best


@dataclass(frozen=True)
class Bound:
    """The score of `task` is at least `bound`, or at most, in the metric's own sign."""

    task: str
    bound: float
    at_least: bool
