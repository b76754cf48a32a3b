"""Which tensor of a base plays which role, and whether a tuned checkpoint of full weights fits.

Decided from layouts; bytes are read only where they must agree.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from checkpoints.errors import MisfitError
from checkpoints.header import TensorEntry
from checkpoints.layout import Layout
from checkpoints.read import MappedTensors
from checkpoints.sources import FullSource

BLOCK = 1 << 20
SAMPLE = 4096
MOST_TIES = 8  # tensors that a model may store a second copy of; to look for ties among more would be to guess


@dataclass(frozen=True)
class Roles:
    """The base's tensors. `merged`: floating, scaled by coefficients. `kept`: integers and booleans, the same in every checkpoint.
    `own`: named private by the caller; the base's stay in the merge as they are.
    """

    merged: tuple[str, ...]
    kept: tuple[str, ...]
    own: tuple[str, ...]


def assign_roles(base: Layout, private: Sequence[str]) -> Roles:
    """Divide the base's tensors. `private`: regular expressions, searched in names. Raises MisfitError for one that is none."""
    try:
        patterns = [re.compile(expression) for expression in private]
    except re.error as error:
        raise MisfitError(f"private: {error.pattern!r} is no regular expression: {error}") from error
    own = {name for name in base.tensors if any(pattern.search(name) for pattern in patterns)}
    shared = [name for name in base.tensors if name not in own]
    merged = tuple(name for name in shared if base.entry(name).floating)
    kept = tuple(name for name in shared if not base.entry(name).floating)
    return Roles(merged, kept, tuple(name for name in base.tensors if name in own))


def fit_full(name: str, tuned: MappedTensors, base: MappedTensors, roles: Roles) -> FullSource:
    """Hold one tuned checkpoint of full weights against its base. Raises MisfitError with every tensor that does not fit."""
    layout = tuned.layout
    aliases = _ties([tensor for tensor in roles.merged if tensor not in layout.tensors], base, layout)
    faults = [fault for tensor in (*roles.merged, *roles.kept) for fault in _faults(tensor, name, tuned, base, aliases)]
    if faults:
        raise MisfitError(faults[0], faults)
    extra = [tensor for tensor in layout.tensors if tensor not in base.layout.tensors or tensor in roles.own]
    copies = _ties(extra, tuned, base.layout)
    return FullSource(tuned, tuple(tensor for tensor in extra if tensor not in copies), aliases)


def _faults(tensor: str, name: str, tuned: MappedTensors, base: MappedTensors, aliases: Mapping[str, str]) -> Iterator[str]:
    source = aliases.get(tensor, tensor)
    if source not in tuned.layout.tensors:
        yield f"{tensor}: {name} has no such tensor, the base has one of {_shown(base.layout.entry(tensor))}"
        return
    mine, theirs = base.layout.entry(tensor), tuned.layout.entry(source)
    if mine.shape != theirs.shape:
        yield f"{tensor}: {name} has {_shown(theirs)}, the base {_shown(mine)}; a head of one task alone may be named private"
    elif mine.floating != theirs.floating or (not mine.floating and mine.dtype != theirs.dtype):
        yield f"{tensor}: {name} has dtype {theirs.dtype}, the base {mine.dtype}"
    elif not mine.floating and not same_bytes(base, tensor, tuned, tensor):
        yield f"{tensor}: {name} has other values than the base; {mine.dtype} tensors are not merged and must agree, or be named private"


def _shown(entry: TensorEntry) -> str:
    return f"{entry.dtype} {list(entry.shape)}"


def _ties(tensors: Sequence[str], holder: MappedTensors, other: Layout) -> dict[str, str]:
    """Which of `tensors` are second copies in `holder`, and of what, where `other` has that: tied weights, saved twice and once."""
    if len(tensors) > MOST_TIES:
        return {}
    return {tensor: original for tensor in tensors if (original := _original(tensor, holder, other))}


def _original(tensor: str, holder: MappedTensors, other: Layout) -> str | None:
    entry = holder.layout.entry(tensor)
    if len(entry.shape) < 2:  # embeddings are tied; equal vectors (biases of zeros) are no tie
        return None
    for candidate, place in holder.layout.tensors.items():
        alike = candidate != tensor and (place.entry.dtype, place.entry.shape) == (entry.dtype, entry.shape)
        if alike and candidate in other.tensors and same_bytes(holder, tensor, holder, candidate):
            return candidate
    return None


def same_bytes(left: MappedTensors, left_name: str, right: MappedTensors, right_name: str) -> bool:
    """Whether two tensors of one dtype and shape hold the same bytes."""
    size = left.layout.entry(left_name).elements
    starts = (0, *range(SAMPLE, size, BLOCK))  # a short look first: it tells most tensors apart
    blocks = [(start, min(size, stop)) for start, stop in zip(starts, (*starts[1:], size), strict=True)]
    return all(
        torch.equal(left.flat(left_name, *block).view(torch.uint8), right.flat(right_name, *block).view(torch.uint8)) for block in blocks
    )
