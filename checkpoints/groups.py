"""Which coefficient scales which tensor: one a tuned checkpoint, or one a tuned checkpoint and group of tensors."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from checkpoints.errors import MisfitError

Grouping = Literal["task", "block"] | Sequence[str]

WHOLE = "all"
PROLOGUE = "prologue"
EPILOGUE = "epilogue"
REST = "rest"

# what stands behind the last block: final norms, poolers and heads; whatever else has no block number stands before the first
_BEHIND = re.compile(r"(^|[._])(lm_head|heads?|norm|ln_f|final\w*|pooler|classifier|fc|score|cls|logits|outputs?|proj_out|last\w*)([._]|$)")
_BLOCK = re.compile(r"(?:.*?\.)?\d+(?=\.|$)")


@dataclass(frozen=True)
class Groups:
    """A partition of tensors. `labels`: G names. `members`: each tensor's group, 0 to G - 1; every group has a member."""

    labels: tuple[str, ...]
    members: Mapping[str, int]

    def __post_init__(self) -> None:
        if set(self.members.values()) != set(range(len(self.labels))) or len(set(self.labels)) != len(self.labels):
            raise MisfitError(f"groups {', '.join(self.labels)}: each needs a name of its own and at least one tensor")


@dataclass(frozen=True)
class Coefficients:
    """c, one row a tuned checkpoint and one column a group. `rows`: N x G finite numbers."""

    rows: tuple[tuple[float, ...], ...]
    groups: Groups

    def __post_init__(self) -> None:
        width = len(self.groups.labels)
        if not self.rows or any(len(row) != width for row in self.rows):
            got = [len(row) for row in self.rows]
            raise MisfitError(f"coefficients need {width} values, one a group, for each tuned checkpoint; got rows of {got}")
        if not all(math.isfinite(value) for row in self.rows for value in row):
            raise MisfitError(f"coefficients {self.rows} are not all finite")

    def of(self, tensor: str) -> tuple[float, ...]:
        """The N coefficients of one tensor."""
        group = self.groups.members[tensor]
        return tuple(row[group] for row in self.rows)


def spread_coefficients(vector: Sequence[float], groups: Groups) -> Coefficients:
    """A flat vector of N x G values, the groups of the first tuned checkpoint first, as Coefficients."""
    width = len(groups.labels)
    if len(vector) == 0 or len(vector) % width:
        raise MisfitError(f"{len(vector)} coefficients do not divide into {width} groups")
    values = [float(value) for value in vector]
    return Coefficients(tuple(tuple(values[at : at + width]) for at in range(0, len(values), width)), groups)


def group_tensors(names: Iterable[str], grouping: Grouping = "task") -> Groups:
    """Partition tensors: `task` all in one, `block` by the first number in the name (a layer of a transformer, a block of a ResNet),
    or a list of regular expressions of which the first that is found in a name takes it, with a last group for what none takes.

    Raises MisfitError: no numbered blocks, an expression that is none, or one that takes no tensor.
    """
    names = tuple(names)
    if grouping == "task":
        return Groups((WHOLE,), dict.fromkeys(names, 0))
    if grouping == "block":
        return _by_block(names)
    if isinstance(grouping, str):
        raise MisfitError(f"groups {grouping!r}: expected task, block or a list of regular expressions")
    return _by_expression(names, tuple(grouping))


def _by_block(names: Sequence[str]) -> Groups:
    blocks = {name: _block_of(name) for name in names}
    inner = sorted({label for label in blocks.values() if label not in (PROLOGUE, EPILOGUE)}, key=_natural)
    if not inner:
        raise MisfitError("groups block: no tensor name holds a block number; use task or a list of regular expressions")
    used = set(blocks.values())
    labels = [label for label in (PROLOGUE, *inner, EPILOGUE) if label in used]
    numbers = {label: number for number, label in enumerate(labels)}
    return Groups(tuple(labels), {name: numbers[label] for name, label in blocks.items()})


def _block_of(name: str) -> str:
    block = _BLOCK.match(name)
    if block:
        return block.group()
    return EPILOGUE if _BEHIND.search(name) else PROLOGUE


def _natural(label: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", label)]


def _by_expression(names: Sequence[str], expressions: Sequence[str]) -> Groups:
    patterns = _compile(expressions)
    found = {name: next((label for label, pattern in patterns.items() if pattern.search(name)), REST) for name in names}
    used = set(found.values())
    idle = [f"groups: {label!r} takes no tensor that no expression before it takes" for label in patterns if label not in used]
    if idle:
        raise MisfitError(idle[0], idle)
    labels = [*patterns, *({REST} & used)]
    return Groups(tuple(labels), {name: labels.index(label) for name, label in found.items()})


def _compile(expressions: Sequence[str]) -> dict[str, re.Pattern[str]]:
    try:
        return {expression: re.compile(expression) for expression in expressions}
    except re.error as error:
        raise MisfitError(f"groups: {error.pattern!r} is no regular expression: {error}") from error
