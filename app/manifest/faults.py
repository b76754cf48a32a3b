"""What is wrong with a manifest's shape, as sentences with the path of the key."""

import copy
import difflib
from collections.abc import Iterable
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from app.domain.errors import Fault
from app.manifest.schema import ELSEWHERE, HERE, ExternalTaskShape, ManifestShape, TaskShape

_TASKS: dict[str | int, type[BaseModel]] = {HERE: TaskShape, ELSEWHERE: ExternalTaskShape}
_MARKS = frozenset({"[key]", *_TASKS})


def shape_faults(error: ValidationError, whole: type[BaseModel] = ManifestShape) -> list[Fault]:
    """One fault for each thing that pydantic found, in its order. `whole`: the shape that the document should have."""
    return [Fault(_key_path(found["loc"]), _sentence(found, whole)) for found in error.errors(include_url=False)]


def without(document: dict[str, Any], error: ValidationError) -> dict[str, Any]:
    """The document without what `error` names, so that the rest can still be looked at.

    A task that lacks a required key goes as a whole, and so does one with a fault that is evaluated elsewhere.
    """
    pruned = copy.deepcopy(document)
    for found in error.errors(include_url=False):
        keys = _keys(found["loc"]) if ELSEWHERE not in found["loc"] else _keys(found["loc"][:2])
        _drop(pruned, keys[:-1] if found["type"] == "missing" else keys)
    return pruned


def _drop(document: Any, keys: tuple[str, ...]) -> None:
    if not keys or not isinstance(document, dict):
        return
    if len(keys) == 1:
        document.pop(keys[0], None)
    else:
        _drop(document.get(keys[0]), keys[1:])


def _keys(location: Iterable[str | int]) -> tuple[str, ...]:
    """Pydantic's location without the marks of a faulty mapping key, and of where a task is measured."""
    return tuple(str(part) for part in location if part not in _MARKS)


def _key_path(location: Iterable[str | int]) -> str:
    return ".".join(_keys(location))


def _sentence(found: Any, whole: type[BaseModel]) -> str:
    kind, given = found["type"], found.get("input")
    if kind == "missing":
        return "required, but missing"
    if kind == "extra_forbidden":
        return "unknown key" + _near_miss(found["loc"], whole)
    if kind == "value_error":
        return str(found["ctx"]["error"])
    if kind == "string_pattern_mismatch" and "[key]" in found["loc"]:
        return f"a name starts with a letter or digit and holds letters, digits, '_', '.', '-' only, 64 at most; got {given!r}"
    return f"{found['msg'][0].lower()}{found['msg'][1:]}; got {given!r}"


def _near_miss(location: tuple[str | int, ...], whole: type[BaseModel]) -> str:
    shape: type[BaseModel] | None = whole
    for part in location[:-1]:
        shape = _TASKS.get(part) or (_inner_shape(shape, str(part)) if shape is not None else None)
    known = list(shape.model_fields) if shape is not None else []
    close = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f": did you mean {close[0]!r}?" if close else (f"; known here: {', '.join(known)}" if known else "")


def _inner_shape(shape: type[BaseModel], part: str) -> type[BaseModel] | None:
    if part not in shape.model_fields:
        return shape  # a name inside a mapping of tasks, or a mark of pydantic's: the shape stays
    annotation = shape.model_fields[part].annotation
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None
