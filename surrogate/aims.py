"""What a user can want from a merge: preferences, a target, the knee, one task, and constraints."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import torch
from torch import Tensor

from surrogate.epigraph import Goal, Limits
from surrogate.errors import InvalidRequestError
from surrogate.scalarise import AUGMENTATION, Range


@dataclass(frozen=True)
class Normalisation:
    """Scores that count as perfect and as worthless, T each, in the metric's own sign and unit."""

    ideal: Tensor
    nadir: Tensor

    def __post_init__(self) -> None:
        if self.ideal.shape != self.nadir.shape or not bool(torch.isfinite(self.ideal - self.nadir).all()):
            raise InvalidRequestError("ideal and nadir must be finite and of one length, a score a task")
        if bool((self.ideal == self.nadir).any()):
            raise InvalidRequestError("ideal and nadir of a task are equal: preferences between its scores mean nothing")


@dataclass(frozen=True)
class Prefer:
    """Weights of the tasks, T, not negative: makes max_t w_t·(normalised shortfall of t) small, a Pareto-optimal choice."""

    weights: Tensor
    normalisation: Normalisation

    def __post_init__(self) -> None:
        if not bool((torch.isfinite(self.weights) & (self.weights >= 0)).all()) or not float(self.weights.sum()) > 0:
            raise InvalidRequestError("preference weights must be finite, not negative, and not all zero")


@dataclass(frozen=True)
class Reach:
    """Scores to reach or to pass evenly, T, in the metric's own sign (the achievement function of Wierzbicki 1980)."""

    target: Tensor
    normalisation: Normalisation

    def __post_init__(self) -> None:
        if not bool(torch.isfinite(self.target).all()):
            raise InvalidRequestError("target scores must be finite")


@dataclass(frozen=True)
class Knee:
    """The point farthest above the plane through the tasks' own best points: the largest sum of normalised scores."""

    normalisation: Normalisation


@dataclass(frozen=True)
class Maximise:
    """The best score of one task (the smallest, where smaller is better)."""

    task: str


Aim = Prefer | Reach | Knee | Maximise


@dataclass(frozen=True)
class Constraint:
    """score of `task` >= `bound` when `at_least`, else <= `bound`; in the metric's own sign."""

    task: str
    bound: float
    at_least: bool


def goal_of(aim: Aim, tasks: Sequence[str], signs: Tensor, default: Range) -> Goal:
    """The aim as a loss over heights. `signs`: T, -1 where smaller scores are better; `default`: for aims that bring no scale.

    Raises InvalidRequestError for vectors that are not a number a task, or an unknown task.
    """
    none, every = torch.zeros_like(signs), torch.ones_like(signs)
    match aim:
        case Prefer(weights, normalisation):
            share = _a_number_a_task(weights, tasks) / weights.sum()
            return Goal(share, AUGMENTATION * share, _extent(normalisation, tasks, signs))
        case Reach(target, normalisation):
            unit = _extent(normalisation, tasks, signs).unit
            return Goal(every, AUGMENTATION * every, Range(signs * _a_number_a_task(target, tasks), unit))
        case Knee(normalisation):
            return Goal(none, every / len(tasks), _extent(normalisation, tasks, signs))
        case Maximise(task):
            return Goal(none, alone(_position(task, tasks), len(tasks)), default)
        case _:
            assert_never(aim)


def limits_of(constraints: Sequence[Constraint], tasks: Sequence[str], signs: Tensor, units: Tensor) -> Limits:
    """Constraints as limits on heights; `units`: T, the range of each task's heights. Raises InvalidRequestError as `goal_of`."""
    index = torch.tensor([_position(constraint.task, tasks) for constraint in constraints], dtype=torch.long)
    bounds = torch.tensor([constraint.bound for constraint in constraints], dtype=torch.float64)
    if not bool(torch.isfinite(bounds).all()):
        raise InvalidRequestError("constraints need finite bounds")
    wanted = torch.tensor([1.0 if constraint.at_least else -1.0 for constraint in constraints], dtype=torch.float64)
    return Limits(index, wanted * signs[index], wanted * bounds, units[index])


def alone(task: int, tasks: int) -> Tensor:
    """1 for one of `tasks`, 0 for the others."""
    return torch.eye(tasks, dtype=torch.float64)[task]


def _extent(normalisation: Normalisation, tasks: Sequence[str], signs: Tensor) -> Range:
    ideal, nadir = _a_number_a_task(normalisation.ideal, tasks), normalisation.nadir
    if bool((signs * (ideal - nadir) < 0).any()):
        raise InvalidRequestError("the ideal score of a task is worse than its nadir")
    return Range(signs * ideal, (ideal - nadir).abs())


def _a_number_a_task(values: Tensor, tasks: Sequence[str]) -> Tensor:
    if values.shape != (len(tasks),):
        raise InvalidRequestError(f"{tuple(values.shape)} numbers for the {len(tasks)} tasks {', '.join(tasks)}")
    return values


def _position(task: str, tasks: Sequence[str]) -> int:
    if task not in tasks:
        raise InvalidRequestError(f"no task {task!r}: there are {', '.join(tasks)}")
    return list(tasks).index(task)
