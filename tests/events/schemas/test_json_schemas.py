"""What a change of a JSON Schema breaks: the documented rules one by one, then proofs by random schemas and values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from stanchion.core.errors import InvalidInput
from stanchion.events.schemas.containment import Containment
from stanchion.events.schemas.views import Document, check

STRING, INTEGER, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}


def closed(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def opened(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def required(schema: dict[str, Any], *names: str) -> dict[str, Any]:
    return {**schema, "required": list(names)}


def reasons(writer: Any, reader: Any, *, lenient: bool = False) -> list[tuple[str, str]]:
    found = Containment(Document(check(writer)), Document(check(reader)), lenient=lenient).clashes()
    assert all(clash.message for clash in found)
    return [(clash.reason, clash.path) for clash in found]


# Old, new, and why the new one cannot read data of the old one (nothing: it can).
BACKWARD: dict[str, tuple[Any, Any, list[tuple[str, str]]]] = {
    "the same": (opened(a=STRING), opened(a=STRING), []),
    "only words changed": ({**STRING, "title": "A"}, {**STRING, "title": "B", "description": "c"}, []),
    "anything to a type": (True, STRING, [("type_narrowed", "#/type")]),
    "a type to anything": (STRING, {}, []),
    "integer to number": (INTEGER, NUMBER, []),
    "number to integer": (NUMBER, INTEGER, [("type_narrowed", "#/type")]),
    "string to integer": (STRING, INTEGER, [("type_changed", "#/type")]),
    "one more type": (STRING, {"type": ["string", "null"]}, []),
    "one type less": ({"type": ["string", "null"]}, STRING, [("type_narrowed", "#/type")]),
    "longer at most": ({**STRING, "maxLength": 5}, {**STRING, "maxLength": 6}, []),
    "shorter at most": (
        {**STRING, "maxLength": 6}, {**STRING, "maxLength": 5}, [("max_length_decreased", "#/maxLength")],
    ),
    "a longest length": (STRING, {**STRING, "maxLength": 5}, [("max_length_added", "#/maxLength")]),
    "no longest length": ({**STRING, "maxLength": 5}, STRING, []),
    "longer at least": (
        {**STRING, "minLength": 1}, {**STRING, "minLength": 2}, [("min_length_increased", "#/minLength")],
    ),
    "a shortest length": (STRING, {**STRING, "minLength": 1}, [("min_length_added", "#/minLength")]),
    "a pattern": (STRING, {**STRING, "pattern": "a"}, [("pattern_added", "#/pattern")]),
    "another pattern": ({**STRING, "pattern": "a"}, {**STRING, "pattern": "b"}, [("pattern_changed", "#/pattern")]),
    "no pattern": ({**STRING, "pattern": "a"}, STRING, []),
    "another format": ({**STRING, "format": "date"}, {**STRING, "format": "time"}, [("format_changed", "#/format")]),
    "a higher maximum": ({**NUMBER, "maximum": 5}, {**NUMBER, "maximum": 6}, []),
    "a lower maximum": ({**NUMBER, "maximum": 6}, {**NUMBER, "maximum": 5}, [("maximum_decreased", "#/maximum")]),
    "a maximum": (NUMBER, {**NUMBER, "maximum": 5}, [("maximum_added", "#/maximum")]),
    "a minimum": (NUMBER, {**NUMBER, "minimum": 5}, [("minimum_added", "#/minimum")]),
    "a higher minimum": ({**NUMBER, "minimum": 1}, {**NUMBER, "minimum": 2}, [("minimum_increased", "#/minimum")]),
    "a minimum that excludes itself": (
        {**NUMBER, "minimum": 1}, {**NUMBER, "exclusiveMinimum": 1}, [("minimum_increased", "#/exclusiveMinimum")],
    ),
    "a minimum that includes itself": ({**NUMBER, "exclusiveMinimum": 1}, {**NUMBER, "minimum": 1}, []),
    "finer steps": ({**INTEGER, "multipleOf": 10}, {**INTEGER, "multipleOf": 5}, []),
    "other steps": (
        {**INTEGER, "multipleOf": 5}, {**INTEGER, "multipleOf": 10}, [("multiple_of_changed", "#/multipleOf")],
    ),
    "steps": (NUMBER, {**NUMBER, "multipleOf": 2}, [("multiple_of_added", "#/multipleOf")]),
    "one more value": ({"enum": ["a"]}, {"enum": ["a", "b"]}, []),
    "one value less": ({"enum": ["a", "b"]}, {"enum": ["a"]}, [("enum_array_narrowed", "#/enum")]),
    "named values only": (STRING, {"enum": ["a"]}, [("enum_array_narrowed", "#/enum")]),
    "any value of the type": ({"enum": ["a", "b"]}, STRING, []),
    "values of another type": ({"enum": ["a", 1]}, STRING, [("type_narrowed", "#")]),
    "more items at most": ({"type": "array", "maxItems": 1}, {"type": "array", "maxItems": 2}, []),
    "fewer items at most": (
        {"type": "array", "maxItems": 2}, {"type": "array", "maxItems": 1}, [("max_items_decreased", "#/maxItems")],
    ),
    "unique items": (
        {"type": "array"}, {"type": "array", "uniqueItems": True}, [("unique_items_added", "#/uniqueItems")],
    ),
    "wider items": ({"type": "array", "items": INTEGER}, {"type": "array", "items": NUMBER}, []),
    "narrower items": (
        {"type": "array", "items": NUMBER}, {"type": "array", "items": INTEGER}, [("type_narrowed", "#/items/type")],
    ),
    "a narrower place": (
        {"type": "array", "prefixItems": [STRING, NUMBER]}, {"type": "array", "prefixItems": [STRING, INTEGER]},
        [("type_narrowed", "#/prefixItems/1/type")],
    ),
    "a property more in a closed object": (closed(a=STRING), closed(a=STRING, b=STRING), []),
    "a required property more": (
        closed(a=STRING), required(closed(a=STRING, b=STRING), "b"), [("required_attribute_added", "#/required")],
    ),
    "a required property with a default": (
        closed(a=STRING), required(closed(a=STRING, b={**STRING, "default": ""}), "b"), [],
    ),
    "no longer required": (required(opened(a=STRING), "a"), opened(a=STRING), []),
    "a property less in a closed object": (
        closed(a=STRING, b=STRING), closed(a=STRING),
        [("property_removed_from_closed_content_model", "#/properties/b")],
    ),
    "a property less in an open object": (opened(a=STRING, b=STRING), opened(a=STRING), []),
    "a property more in an open object": (
        opened(a=STRING), opened(a=STRING, b=STRING), [("property_added_to_open_content_model", "#/properties/b")],
    ),
    "a property of any kind in an open object": (opened(a=STRING), opened(a=STRING, b=True), []),
    "a property that the rest covers": (
        {**opened(), "additionalProperties": STRING}, {**opened(b=STRING), "additionalProperties": STRING}, [],
    ),
    "a property that the rest does not cover": (
        {**opened(), "additionalProperties": STRING}, {**opened(b=INTEGER), "additionalProperties": STRING},
        [("property_added_not_covered_by_partially_open_content_model", "#/properties/b")],
    ),
    "a property gone into a rest that does not cover it": (
        {**opened(b=INTEGER), "additionalProperties": STRING}, {**opened(), "additionalProperties": STRING},
        [("property_removed_not_covered_by_partially_open_content_model", "#/properties/b")],
    ),
    "an object closed": (
        opened(a=STRING), closed(a=STRING), [("additional_properties_removed", "#/additionalProperties")],
    ),
    "a rest narrowed": (
        opened(), {**opened(), "additionalProperties": STRING},
        [("additional_properties_narrowed", "#/additionalProperties/type")],
    ),
    "an object opened": (closed(a=STRING), opened(a=STRING), []),
    "a property narrowed": (
        opened(a={"type": "object", "properties": {"b": NUMBER}}),
        opened(a={"type": "object", "properties": {"b": INTEGER}}),
        [("type_narrowed", "#/properties/a/properties/b/type")],
    ),
    "a name with a slash": (
        opened(**{"a/b": NUMBER}), opened(**{"a/b": INTEGER}), [("type_narrowed", "#/properties/a~1b/type")],
    ),
    "fewer properties at most": (
        {"type": "object", "maxProperties": 2}, {"type": "object", "maxProperties": 1},
        [("max_properties_decreased", "#/maxProperties")],
    ),
    "a dependency": (
        opened(a=STRING, b=STRING), {**opened(a=STRING, b=STRING), "dependentRequired": {"a": ["b"]}},
        [("dependency_added", "#/dependentRequired/a")],
    ),
    "one branch more": ({"anyOf": [STRING]}, {"anyOf": [STRING, INTEGER]}, []),
    "one branch less": (
        {"anyOf": [STRING, INTEGER]}, {"anyOf": [STRING]},
        [("sum_type_narrowed", "#/anyOf"), ("type_changed", "#/anyOf/0/type")],
    ),
    "a type into a choice": (STRING, {"oneOf": [STRING, INTEGER]}, []),
    "a choice that overlaps": (INTEGER, {"oneOf": [INTEGER, NUMBER]}, [("combined_type_changed", "#/oneOf")]),
    "branches told apart by a constant": (
        {"oneOf": [required(opened(k={"const": "a"}), "k")]},
        {"oneOf": [required(opened(k={"const": "a"}), "k"), required(opened(k={"const": "b"}), "k")]},
        [],
    ),
    "a part of a product more": (STRING, {"allOf": [STRING, {"maxLength": 3}]}, [("max_length_added", "#/maxLength")]),
    "a part of a product less": ({"allOf": [STRING, {"maxLength": 3}]}, STRING, []),
    "an exception more": (STRING, {**STRING, "not": {"const": ""}}, [("not_type_extended", "#/not")]),
    "an exception less": ({**STRING, "not": {"const": ""}}, STRING, []),
    "the same exception": ({**STRING, "not": {"const": ""}}, {**STRING, "maxLength": 9, "not": {"const": ""}},
        [("max_length_added", "#/maxLength")]),
    "a reference narrowed": (
        {"$ref": "#/$defs/a", "$defs": {"a": opened(x=NUMBER)}},
        {"$ref": "#/$defs/b", "$defs": {"b": opened(x=INTEGER)}},
        [("type_narrowed", "#/properties/x/type")],
    ),
    "a tree that holds itself": (
        {"$ref": "#/$defs/t", "$defs": {"t": opened(of={"$ref": "#/$defs/t"}, v=INTEGER)}},
        {"$ref": "#/$defs/t", "$defs": {"t": opened(of={"$ref": "#/$defs/t"}, v=NUMBER)}},
        [],
    ),
    "a condition": (STRING, {"if": STRING, "then": {"maxLength": 1}}, [("not_provable", "#")]),
    "the same condition": ({"if": STRING, "then": {"maxLength": 1}}, {"then": {"maxLength": 1}, "if": STRING}, []),
}  # fmt: skip


@pytest.mark.parametrize("name", BACKWARD)
def test_a_change_is_judged_with_its_reason_and_path(name: str) -> None:
    old, new, expected = BACKWARD[name]
    assert reasons(old, new) == expected


def test_undeclared_properties_may_be_taken_for_absent() -> None:
    old, new = opened(a=STRING), opened(a=STRING, b=INTEGER)
    assert reasons(old, new) and not reasons(old, new, lenient=True)
    assert reasons(old, required(new, "b"), lenient=True) == [("required_attribute_added", "#/required")]


WRONG: dict[str, Any] = {
    "a number": 1,
    "a reference to nothing": {"$ref": "#/$defs/none"},
    "a reference elsewhere": {"$ref": "https://example.com/a.json"},
    "a reference elsewhere, inside": opened(a={"$ref": "file:///etc/passwd"}),
    "a reference to itself": {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_compared_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        check(WRONG[name])


def test_intricate_schemas_end_in_an_answer_and_not_in_a_long_wait() -> None:
    def nest(depth: int, last: Any) -> Any:
        return last if depth == 0 else {"anyOf": [opened(a=nest(depth - 1, last)), opened(b=nest(depth - 1, last))]}

    found = reasons(nest(9, STRING), nest(9, INTEGER))
    assert found


_NAMES = st.sampled_from(["a", "b", "c"])
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 12)
    | st.sampled_from([0.5, 2.0, -1.5, 3.25])
    | st.text("ab", max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
    max_leaves=5,
)


def _pick(**options: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=options)


_SCALAR = st.one_of(
    st.sampled_from([True, {"type": "null"}, {"type": "boolean"}, {"type": ["string", "null"]}]),
    _pick(minLength=st.integers(0, 3), maxLength=st.integers(0, 4), pattern=st.sampled_from(["^a", "b$"])).map(
        lambda rest: {"type": "string", **rest}
    ),
    st.tuples(
        st.sampled_from(["integer", "number"]),
        _pick(
            minimum=st.integers(-3, 8), maximum=st.integers(-2, 9), exclusiveMinimum=st.integers(-3, 4),
            multipleOf=st.sampled_from([0.5, 1, 2, 3]),
        ),
    ).map(lambda pair: {"type": pair[0], **pair[1]}),
    st.lists(_VALUES, min_size=1, max_size=3).map(lambda values: {"enum": values}),
)  # fmt: skip


def _deeper(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        _pick(
            properties=st.dictionaries(_NAMES, inner, max_size=3), additionalProperties=st.booleans() | inner,
            required=st.lists(_NAMES, unique=True, max_size=2), minProperties=st.integers(0, 2),
            maxProperties=st.integers(0, 3), patternProperties=st.dictionaries(st.just("^[ab]$"), inner, max_size=1),
            propertyNames=st.just({"enum": ["a", "b"]}), dependentRequired=st.just({"a": ["b"]}),
        ).map(lambda rest: {"type": "object", **rest}),
        _pick(
            items=inner, prefixItems=st.lists(inner, min_size=1, max_size=2), minItems=st.integers(0, 2),
            maxItems=st.integers(0, 3), uniqueItems=st.booleans(),
        ).map(lambda rest: {"type": "array", **rest}),
        st.tuples(st.sampled_from(["anyOf", "oneOf", "allOf"]), st.lists(inner, min_size=1, max_size=3)).map(
            lambda pair: {pair[0]: pair[1]}
        ),
        st.tuples(inner, inner).map(lambda pair: {"allOf": [pair[0]], "not": pair[1]}),
    )  # fmt: skip


SCHEMAS = st.recursive(_SCALAR, _deeper, max_leaves=5)


@settings(derandomize=True, deadline=None, max_examples=120)
@given(SCHEMAS, SCHEMAS, st.lists(_VALUES, min_size=8, max_size=20))
def test_what_is_found_compatible_admits_every_value_of_the_other(writer: Any, reader: Any, values: list[Any]) -> None:
    assume(not reasons(writer, reader))
    old, new = Draft202012Validator(writer), Draft202012Validator(reader)
    assert not [value for value in values if old.is_valid(value) and not new.is_valid(value)]


@settings(derandomize=True, deadline=None, max_examples=50)
@given(SCHEMAS, _NAMES, _SCALAR)
def test_a_schema_reads_its_own_data_and_a_wider_one_does(schema: Any, name: str, more: Any) -> None:
    assert reasons(schema, schema) == []
    assert reasons(schema, {"anyOf": [schema, more]}) == []
    assert reasons({"allOf": [schema, more]}, schema) == []


@settings(derandomize=True, deadline=None, max_examples=120)
@given(SCHEMAS, _VALUES)
def test_a_single_value_is_judged_as_a_validator_does(schema: Any, value: Any) -> None:
    from stanchion.events.schemas.values import accepts

    document = Document(schema)
    assert accepts(document, document.view(schema), value) == Draft202012Validator(schema).is_valid(value)
