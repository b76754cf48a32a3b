"""What people type to name a merge: `mnist=2,landsat=1`, `0.3,0.7`, `mnist>=0.95`."""

import math
import re
from collections.abc import Sequence

from app.domain.errors import Fault, RefusedError

_CONSTRAINT = re.compile(r"^\s*([A-Za-z0-9][A-Za-z0-9_.-]*?)\s*(>=|<=)\s*(\S+)\s*$")


def parse_weights(text: str, tasks: Sequence[str]) -> dict[str, float]:
    """`mnist=2,landsat=1` as weights of all tasks, 0 for those not named. Raises RefusedError."""
    weights = dict.fromkeys(tasks, 0.0)
    for part in text.split(","):
        task, mark, value = part.partition("=")
        if not mark:
            raise _refusal("--prefer", f"expected task=weight,task=weight, got {part!r}")
        weights[_known(task.strip(), tasks, "--prefer")] = _number(value, "--prefer")
    if min(weights.values()) < 0 or max(weights.values()) <= 0:
        raise _refusal("--prefer", "weights are 0 or more, at least one above 0")
    return weights


def parse_vector(text: str, columns: Sequence[str]) -> tuple[float, ...]:
    """`0.3,0.7` as one coefficient for each column. Raises RefusedError."""
    values = tuple(_number(part, "--at") for part in text.split(","))
    if len(values) != len(columns):
        raise _refusal("--at", f"{len(values)} coefficients given, {len(columns)} needed: {', '.join(columns)}")
    return values


def parse_constraint(text: str, tasks: Sequence[str]) -> tuple[str, float, bool]:
    """`mnist>=0.95` as task, bound, whether it is a lower bound. Raises RefusedError."""
    found = _CONSTRAINT.match(text)
    if not found:
        raise _refusal("--require", f"expected task>=score or task<=score, got {text!r}")
    task, sign, bound = found.groups()
    return _known(task, tasks, "--require"), _number(bound, "--require"), sign == ">="


def _known(task: str, tasks: Sequence[str], option: str) -> str:
    if task not in tasks:
        raise _refusal(option, f"no task is called {task!r}; there are {', '.join(tasks)}")
    return task


def _number(text: str, option: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise _refusal(option, f"{text.strip()!r} is no number") from error
    if not math.isfinite(value):
        raise _refusal(option, f"{text.strip()!r} is not finite")
    return value


def _refusal(option: str, problem: str) -> RefusedError:
    return RefusedError([Fault(option, problem)])
