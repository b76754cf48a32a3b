"""JSON text of values: strict both ways."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from types import NoneType
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import RefusedError
from app.domain.front import Front
from app.domain.study import FactoryArchitecture, Failure, ModelSetSpec, SpaceSpec, StudySpec
from app.domain.task import METRICS, SplitShares, TaskSpec
from app.domain.trial import Measurement, Proposal
from app.store.codec import decode, decode_plain, encode, encode_plain

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
KINDS = (StudySpec, Proposal, Front, Failure, Measurement)
SIMPLE = {object: PLAIN, float: NUMBERS, str: st.text(max_size=5), NoneType: st.none()}


def values(kind):
    """Any value of a form, every field of it drawn."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in SIMPLE:
        return SIMPLE[kind]
    if is_dataclass(kind):
        return st.builds(kind, **{name: values(hint) for name, hint in get_type_hints(kind).items()})
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple:
        return st.lists(values(arguments[0]), max_size=2).map(tuple)
    if origin is Mapping:
        return st.dictionaries(values(str), values(arguments[1]), max_size=2)
    return st.one_of(*map(values, arguments)) if arguments else st.from_type(kind)


def bits(value):
    """The value with its floats spelt bit by bit, and mappings with their order."""
    if is_dataclass(value):
        return [type(value).__name__, *(bits(getattr(value, part.name)) for part in fields(value))]
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, dict):
        return [(key, bits(part)) for key, part in value.items()]
    return [bits(part) for part in value] if isinstance(value, tuple | list) else (type(value).__name__, value)


@pytest.fixture
def spec():
    tasks = (TaskSpec("a", "a.safetensors", next(iter(METRICS)), SplitShares()),)
    return StudySpec("s", ModelSetSpec("base", {"a": "a"}), FactoryArchitecture("net.py", "Net"), tasks)


class TestRoundTrip:
    @given(st.sampled_from(KINDS).flatmap(values))
    def test_gives_back_what_went_in(self, value):
        back = decode(type(value), encode(value))
        assert back == value
        assert bits(back) == bits(value)

    @given(st.dictionaries(st.text(), PLAIN, max_size=4))
    def test_of_plain_values(self, value):
        assert bits(decode_plain(encode_plain(value))) == bits(value)

    def test_turns_whole_numbers_into_the_floats_they_are_meant_to_be(self):
        back = decode(Proposal, encode(Proposal("design", "search", (0, 1))))
        assert bits(back.coefficients) == bits((0.0, 1.0))

    def test_text_is_ascii_of_one_line(self):
        text = encode(Failure("c", "Größe\n\x00\ud800"))
        assert text.isascii()
        assert "\n" not in text and "\x00" not in text


class TestEvolution:
    def test_fields_that_an_older_text_lacks_take_their_defaults(self):
        assert decode(SpaceSpec, '{"low": -1}') == SpaceSpec(-1.0)

    def test_fields_of_a_newer_release_are_refused(self):
        with pytest.raises(RefusedError, match="^colour: unknown in SpaceSpec; a newer release"):
            decode(SpaceSpec, '{"low": 0, "colour": 1}')

    def test_kinds_of_a_newer_release_are_refused(self, spec):
        text = encode(spec).replace("FactoryArchitecture", "GraphArchitecture")
        with pytest.raises(RefusedError, match="^architecture.kind: 'GraphArchitecture' is unknown"):
            decode(StudySpec, text)


class TestRefusal:
    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("", "not JSON"),
            ("[]", "list where dict belongs"),
            ("{}", "^code: missing in Failure"),
            ('{"code": 1, "message": ""}', "^code: int where str belongs"),
            ('{"code": null, "message": ""}', "^code: NoneType where str belongs"),
            ('{"code": NaN, "message": ""}', "NaN is not JSON"),
        ],
    )
    def test_of_texts_that_hold_something_else(self, text, problem):
        with pytest.raises(RefusedError, match=problem):
            decode(Failure, text)

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            ({"low": float("nan")}, "^low: nan is not a finite number"),
            ({"high": float("inf")}, "^high: inf is not"),
            ({"low": True}, "^low: bool where a number belongs"),
            ({"low": "0"}, "^low: str where a number belongs"),
            ({"groups": "layer"}, "^groups: 'layer' is unknown, use one of task, block"),
            ({"groups": ("a", 1)}, r"^groups\[1\]: int where str belongs"),
            ({"groups": ["a"]}, "^groups: a list does not belong here"),
        ],
    )
    def test_of_values_that_do_not_fit_their_fields(self, change, problem):
        with pytest.raises(RefusedError, match=problem):
            encode(replace(SpaceSpec(), **change))

    @pytest.mark.parametrize("value", [{"a": [1, {"b": float("nan")}]}, {"a": [1, {"b": object()}]}, {"a": [1, {"b": {1: 2}}]}])
    def test_of_what_is_not_plain_names_its_place(self, value):
        with pytest.raises(RefusedError, match=r"^a\[1\]\.b: "):
            encode_plain(value)

    def test_of_types_without_a_json_form_is_a_defect(self):
        with pytest.raises(TypeError, match="no JSON form"):
            encode(3 + 4j)

    @given(PLAIN)
    def test_is_all_that_strange_text_can_cause(self, value):
        text = encode_plain({"value": value})[len('{"value":') : -1]
        for kind in KINDS:
            with pytest.raises(RefusedError):
                decode(kind, text)
