"""When two schemas are one interface, and which number follows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.registry.manifest import canonical
from stanchion.registry.versioning import same_interface

OBJECT = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


@pytest.mark.parametrize(
    "other",
    [
        {**OBJECT, "title": "Other", "description": "words", "examples": [1], "$comment": "c"},
        {"required": ["a"], "properties": {"a": {"type": "integer", "title": "A"}}, "type": "object"},
    ],
)
def test_prose_and_order_are_no_difference(other: dict[str, Any]) -> None:
    assert same_interface(OBJECT, other)


def test_the_order_of_sets_is_no_difference() -> None:
    one = {"required": ["a", "b"], "properties": {"a": {"enum": ["x", "y"]}, "b": {"type": ["null", "number"]}}}
    other = {"required": ["b", "a"], "properties": {"a": {"enum": ["y", "x"]}, "b": {"type": ["number", "null"]}}}
    assert same_interface(one, other)


def test_an_integer_written_as_a_float_is_the_same_bound() -> None:
    assert same_interface({"minimum": 0}, {"minimum": 0.0})
    assert not same_interface({"minimum": 0}, {"minimum": False})


@pytest.mark.parametrize(
    "other",
    [
        {**OBJECT, "required": []},
        {**OBJECT, "properties": {"a": {"type": "number"}}},
        {**OBJECT, "properties": {"a": {"type": "integer", "default": 1}}},
        {**OBJECT, "properties": {"a": {"type": "integer"}, "title": {"type": "string"}}},
        {**OBJECT, "additionalProperties": False},
    ],
)
def test_whatever_a_request_depends_on_is_a_difference(other: dict[str, Any]) -> None:
    assert not same_interface(OBJECT, other)


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("aé☃\0", max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abé", max_size=3), inner, max_size=4),
)


@given(_json)
def test_canonical_json_is_read_back_as_it_was_and_written_the_same(value: object) -> None:
    written = canonical(value)
    assert json.loads(written) == value
    assert canonical(json.loads(written)) == written


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", {1, 2}, object()])
def test_what_json_cannot_express_has_no_canonical_form(value: object) -> None:
    with pytest.raises(ValueError):
        canonical({"value": value})
