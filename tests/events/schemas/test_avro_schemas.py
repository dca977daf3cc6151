"""What a change of an Avro schema breaks: the specification's rules one by one, then beside another implementation."""

from __future__ import annotations

import json
from typing import Any

import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import parse as parse_other
from hypothesis import given, settings
from hypothesis import strategies as st

from stanchion.core.errors import InvalidInput
from stanchion.events.schemas.avro import clashes, parse


def record(*fields: Any, name: str = "R", **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields), **more}


def field(name: str, kind: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


def reasons(writer: Any, reader: Any) -> list[tuple[str, str]]:
    found = clashes(parse(json.dumps(writer)), parse(json.dumps(reader)))
    assert all(clash.message for clash in found)
    return [(clash.reason, clash.path) for clash in found]


ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}
LIST = record(field("value", "int"), field("next", ["null", "R"]))

BACKWARD: dict[str, tuple[Any, Any, list[tuple[str, str]]]] = {
    "the same": (record(field("a", "int")), record(field("a", "int")), []),
    "int to long": ("int", "long", []),
    "long to double": ("long", "double", []),
    "long to int": ("long", "int", [("type_mismatch", "#")]),
    "string to bytes": ("string", "bytes", []),
    "int to string": ("int", "string", [("type_mismatch", "#")]),
    "a field more": (record(), record(field("a", "int")), [("reader_field_missing_default_value", "#/fields/0")]),
    "a field more with a default": (record(), record(field("a", "int", default=0)), []),
    "a field less": (record(field("a", "int")), record(), []),
    "a field renamed by alias": (record(field("a", "int")), record(field("b", "int", aliases=["a"])), []),
    "a field renamed": (
        record(field("a", "int")), record(field("b", "int")), [("reader_field_missing_default_value", "#/fields/0")],
    ),
    "a field narrowed": (
        record(field("x", "int"), field("a", "long")), record(field("x", "int"), field("a", "int")),
        [("type_mismatch", "#/fields/1/type")],
    ),
    "a record renamed": (record(), record(name="S"), [("name_mismatch", "#/name")]),
    "a record renamed by alias": (record(), record(name="S", aliases=["R"]), []),
    "another namespace": (record(namespace="a.b"), record(namespace="c"), []),
    "a symbol more": (ENUM, {**ENUM, "symbols": ["A", "B", "C"]}, []),
    "a symbol less": (ENUM, {**ENUM, "symbols": ["A"]}, [("missing_enum_symbols", "#/symbols")]),
    "a symbol less with a default": (ENUM, {**ENUM, "symbols": ["A"], "default": "A"}, []),
    "another size": (
        {"type": "fixed", "name": "F", "size": 4}, {"type": "fixed", "name": "F", "size": 8},
        [("fixed_size_mismatch", "#/size")],
    ),
    "a type into a union": ("int", ["null", "long"], []),
    "a branch less": (["null", "int"], ["null"], [("missing_union_branch", "#")]),
    "a branch more": (["null"], ["null", "int"], []),
    "a union into a type": (["int", "string"], "int", [("type_mismatch", "#")]),
    "items": (
        {"type": "array", "items": "long"}, {"type": "array", "items": "int"}, [("type_mismatch", "#/items")],
    ),
    "values": ({"type": "map", "values": "long"}, {"type": "map", "values": "int"}, [("type_mismatch", "#/values")]),
    "a list that holds itself": (LIST, LIST, []),
    "a list that holds itself, narrowed": (
        record(field("value", "long"), field("next", ["null", "R"])), LIST, [("type_mismatch", "#/fields/0/type")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BACKWARD)
def test_a_change_is_judged_with_its_reason_and_path(name: str) -> None:
    old, new, expected = BACKWARD[name]
    assert reasons(old, new) == expected


WRONG: dict[str, tuple[Any, str]] = {
    "a number": (1, "#"),
    "an unknown type": ("integer", "#"),
    "a record without fields": ({"type": "record", "name": "R"}, "#/fields"),
    "a record without a name": ({"type": "record", "fields": []}, "#/name"),
    "a field twice": (record(field("a", "int"), field("a", "int")), "#/fields/1/name"),
    "a default of another type": (record(field("a", "int", default="x")), "#/fields/0/default"),
    "a name twice": (record(field("a", ENUM), field("b", ENUM)), "#/fields/1/type/name"),
    "a union in a union": ([["null"], "int"], "#/0"),
    "a branch twice": (["int", "int"], "#"),
    "a symbol twice": ({**ENUM, "symbols": ["A", "A"]}, "#/symbols"),
    "a default that is no symbol": ({**ENUM, "default": "Z"}, "#/default"),
    "a size below nothing": ({"type": "fixed", "name": "F", "size": -1}, "#/size"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_schema_is_refused_with_its_path(name: str) -> None:
    given, path = WRONG[name]
    with pytest.raises(InvalidInput) as refused:
        parse(json.dumps(given))
    assert path.startswith(refused.value.fields[0].path)


_SIMPLE = st.sampled_from(["null", "boolean", "int", "long", "float", "double", "bytes", "string"])


def _deeper(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    unions = st.lists(_SIMPLE, min_size=1, max_size=3, unique=True)
    return st.one_of(
        inner.map(lambda items: {"type": "array", "items": items}),
        inner.map(lambda values: {"type": "map", "values": values}),
        unions,
    )


_KINDS = st.recursive(_SIMPLE, _deeper, max_leaves=3)
_FIELDS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from("abc"), _KINDS).map(lambda pair: field(*pair)),
        st.sampled_from("abc").map(lambda name: field(name, "int", default=0)),
        st.sampled_from("abc").map(lambda name: field(name, {**ENUM, "name": f"E{name}"})),
    ),
    max_size=3,
    unique_by=lambda one: one["name"],
).map(lambda fields: record(*fields))
SCHEMAS = st.one_of(
    _KINDS,
    _FIELDS,
    st.lists(st.sampled_from("ABC"), min_size=1, unique=True).map(lambda symbols: {**ENUM, "symbols": symbols}),
)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(SCHEMAS, SCHEMAS)
def test_the_answer_is_that_of_the_avro_project(writer: Any, reader: Any) -> None:
    other = ReaderWriterCompatibilityChecker().get_compatibility(
        reader=parse_other(json.dumps(reader)), writer=parse_other(json.dumps(writer))
    )
    assert (not reasons(writer, reader)) == (other.compatibility is SchemaCompatibilityType.compatible)
