"""Values as JSON text, strict both ways: what is written is read back equal, and what does not fit is refused with its path.

A value's form is its type: a dataclass of plain fields, of dataclasses, of tuples and of mappings by name. Where a field may hold
one of several dataclasses, the JSON object names its own in `kind`. Numbers are finite and round-trip exactly. A field that an older
text lacks takes its default; a field that the dataclass lacks is refused, for a newer release must have written it.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

from app.domain.errors import Fault, RefusedError

Value = TypeVar("Value")
Turn = Callable[[Any, str], Any]
_KIND = "kind"


@dataclass(frozen=True)
class _Form:
    """How one type goes `out` to plain JSON values and comes `back`; both take the value and its path. `python`: what a value is."""

    python: tuple[type, ...]
    json: tuple[type, ...]
    out: Turn
    back: Turn


def encode(value: object) -> str:
    """The text of a dataclass value. Raises RefusedError."""
    return _dumps(_form(type(value)).out(value, ""))


def decode(kind: type[Value], text: str) -> Value:
    """The value of class `kind` that `encode` wrote. Raises RefusedError."""
    value: Value = _form(kind).back(_loads(text), "")
    return value


def encode_plain(value: Mapping[str, object]) -> str:
    """The text of a mapping of plain JSON values. Raises RefusedError."""
    return _dumps(_plain(dict(value), ""))


def decode_plain(text: str) -> dict[str, Any]:
    """The mapping that `encode_plain` wrote. Raises RefusedError."""
    value: dict[str, Any] = _one_of(dict)(_loads(text), "")
    return value


def _dumps(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _loads(text: str) -> object:
    try:
        return json.loads(text, parse_constant=lambda word: _refuse("", f"{word} is not JSON"))
    except json.JSONDecodeError as error:
        _refuse("", f"not JSON: {error}")


def _refuse(where: str, problem: str) -> NoReturn:
    raise RefusedError([Fault(where, problem)])


def _build(kind: Any) -> _Form:
    if kind is object:
        return _Form((object,), (object,), _plain, _plain)
    if kind is float:
        return _Form((float, int), (float, int), _number, _number)
    if kind in (str, int, bool, NoneType):
        return _Form((kind,), (kind,), _one_of(kind), _one_of(kind))
    if kind is datetime:
        return _Form((datetime,), (str,), _moment_text, _moment)
    if is_dataclass(kind):
        return _dataclass(kind)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return _Form((kind,), (str,), lambda value, where: _one_of(kind)(value, where).value, _member(kind))
    return _generic(kind, get_origin(kind), get_args(kind))


def _generic(kind: Any, origin: Any, arguments: tuple[Any, ...]) -> _Form:
    if origin is Literal:
        return _Form((str,), (str,), _choice(arguments), _choice(arguments))
    if origin is tuple and arguments[1:] == (...,):
        return _tuple(_form(arguments[0]))
    if origin is Mapping and arguments[0] is str:
        return _mapping(_form(arguments[1]))
    if origin in (Union, UnionType):
        return _union(arguments)
    raise TypeError(f"{kind} has no JSON form")


_form: Callable[[Any], _Form] = cache(_build)


def _one_of(*kinds: type) -> Turn:
    def check(value: Any, where: str) -> Any:
        if type(value) not in kinds:
            _refuse(where, f"{type(value).__name__} where {' or '.join(kind.__name__ for kind in kinds)} belongs")
        return value

    return check


def _number(value: Any, where: str) -> float:
    # numpy's float64 is a float, and leaves as a plain one
    if isinstance(value, bool) or not isinstance(value, float | int):
        _refuse(where, f"{type(value).__name__} where a number belongs")
    if not math.isfinite(value):
        _refuse(where, f"{value} is not a finite number")
    return float(value)


def _moment_text(value: Any, where: str) -> str:
    if not isinstance(value, datetime) or value.tzinfo is None:
        _refuse(where, f"{value!r} is no moment with a time zone")
    return value.astimezone(UTC).isoformat()


def _moment(value: Any, where: str) -> datetime:
    try:
        return datetime.fromisoformat(_one_of(str)(value, where))
    except ValueError:
        _refuse(where, f"{value!r} is no moment")


def _choice(allowed: Sequence[str]) -> Turn:
    def check(value: Any, where: str) -> str:
        if type(value) is not str or value not in allowed:
            _refuse(where, f"{value!r} is unknown, use one of {', '.join(allowed)}")
        return value

    return check


def _member(kind: type[StrEnum]) -> Turn:
    names = _choice([member.value for member in kind])
    return lambda value, where: kind(names(value, where))


def _tuple(item: _Form) -> _Form:
    def each(turn: Turn, values: Sequence[Any], where: str) -> list[Any]:
        return [turn(value, f"{where}[{place}]") for place, value in enumerate(values)]

    return _Form(
        (tuple,),
        (list,),
        lambda value, where: each(item.out, _one_of(tuple)(value, where), where),
        lambda value, where: tuple(each(item.back, _one_of(list)(value, where), where)),
    )


def _mapping(item: _Form) -> _Form:
    def each(turn: Turn, value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            _refuse(where, f"{type(value).__name__} where a mapping belongs")
        return {_one_of(str)(name, where): turn(part, _join(where, name)) for name, part in value.items()}

    return _Form(
        (Mapping,),
        (dict,),
        lambda value, where: each(item.out, value, where),
        lambda value, where: each(item.back, value, where),
    )


def _union(kinds: tuple[Any, ...]) -> _Form:
    classes = tuple(kind for kind in kinds if is_dataclass(kind))
    tagged = (_tagged(classes),) if len(classes) > 1 else tuple(map(_form, classes))
    forms = tagged + tuple(_form(kind) for kind in kinds if kind not in classes)

    def pick(types: Callable[[_Form], tuple[type, ...]], value: Any, where: str) -> _Form:
        fitting = [form for form in forms if isinstance(value, types(form))]
        return fitting[0] if fitting else _refuse(where, f"a {type(value).__name__} does not belong here")

    return _Form(
        tuple(kind for form in forms for kind in form.python),
        tuple(kind for form in forms for kind in form.json),
        lambda value, where: pick(lambda form: form.python, value, where).out(value, where),
        lambda value, where: pick(lambda form: form.json, value, where).back(value, where),
    )


def _tagged(classes: tuple[Any, ...]) -> _Form:
    by_name = {kind.__name__: kind for kind in classes}
    name = _choice(tuple(by_name))

    def out(value: Any, where: str) -> dict[str, Any]:
        return {_KIND: type(value).__name__, **_form(type(value)).out(value, where)}

    def back(value: dict[str, Any], where: str) -> Any:
        kind = by_name[name(value.get(_KIND), _join(where, _KIND))]
        return _form(kind).back({key: part for key, part in value.items() if key != _KIND}, where)

    return _Form(classes, (dict,), out, back)


def _dataclass(kind: Any) -> _Form:
    hints = get_type_hints(kind)
    parts = {field.name: _form(hints[field.name]) for field in fields(kind)}
    needed = {field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING}

    def out(value: Any, where: str) -> dict[str, Any]:
        _one_of(kind)(value, where)
        return {name: part.out(getattr(value, name), _join(where, name)) for name, part in parts.items()}

    def back(value: Any, where: str) -> Any:
        _one_of(dict)(value, where)
        for name in sorted(value.keys() - parts.keys()):
            _refuse(_join(where, name), f"unknown in {kind.__name__}; a newer release must have written it")
        for name in sorted(needed - value.keys()):
            _refuse(_join(where, name), f"missing in {kind.__name__}")
        return kind(**{name: parts[name].back(part, _join(where, name)) for name, part in value.items()})

    return _Form((kind,), (dict,), out, back)


def _plain(value: Any, where: str) -> Any:
    if isinstance(value, Mapping):
        return {_one_of(str)(name, where): _plain(part, _join(where, name)) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part, f"{where}[{place}]") for place, part in enumerate(value)]
    if isinstance(value, float):
        return _number(value, where)
    return _one_of(str, int, bool, NoneType)(value, where)


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
