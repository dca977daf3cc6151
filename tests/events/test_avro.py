"""Whether data are data of an Avro schema: held against the library of Apache Avro, byte for byte."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from avro.io import BinaryEncoder, DatumWriter
from avro.schema import parse as parse_other
from hypothesis import given
from hypothesis import strategies as st

from stanchion.events.avro import faults

ORDER = json.dumps(
    {
        "type": "record",
        "name": "Order",
        "namespace": "shop",
        "fields": [
            {"name": "number", "type": "long"},
            {"name": "paid", "type": "boolean"},
            {"name": "total", "type": ["null", "double", "string"]},
            {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["OPEN", "SHIPPED"]}},
            {"name": "lines", "type": {"type": "array", "items": {"type": "map", "values": "int"}}},
            {"name": "code", "type": {"type": "fixed", "name": "Code", "size": 2}},
            {"name": "next", "type": ["null", "Order"]},
            {"name": "weight", "type": "float"},
            {"name": "seal", "type": "bytes"},
        ],
    }
)
GOOD: dict[str, Any] = {
    "number": 7, "paid": True, "total": {"double": 1.5}, "state": "OPEN", "lines": [{"a": 1}], "code": "ab",
    "next": None, "weight": 2, "seal": "\u00ff",
}  # fmt: skip


def orders(inner: Any) -> Any:
    return st.fixed_dictionaries(
        {
            "number": st.integers(-(2**63), 2**63 - 1),
            "paid": st.booleans(),
            "total": st.none() | st.floats() | st.text(),
            "state": st.sampled_from(["OPEN", "SHIPPED"]),
            "lines": st.lists(st.dictionaries(st.text(), st.integers(-(2**31), 2**31 - 1), max_size=3), max_size=3),
            "code": st.binary(min_size=2, max_size=2),
            "next": inner,
            "weight": st.floats(width=32),
            "seal": st.binary(),
        }
    )


def written(value: Any, schema: str = ORDER) -> bytes:
    out = io.BytesIO()
    DatumWriter(parse_other(schema)).write(value, BinaryEncoder(out))
    return out.getvalue()


def told(schema: str, data: bytes | None, kind: str = "avro/binary") -> list[tuple[str, str]]:
    return [(each.path, each.message) for each in faults(schema, data, kind, "$.data")]


@given(orders(st.none() | orders(st.none())), st.data())
def test_what_the_library_writes_fits_and_neither_less_nor_more_of_it(value: Any, data: Any) -> None:
    whole = written(value)
    assert not told(ORDER, whole)
    assert told(ORDER, whole[: data.draw(st.integers(0, len(whole) - 1))])
    assert told(ORDER, whole + b"\0") == [("$.data", "have 1 bytes more than the schema reads")]


@pytest.mark.parametrize(
    ("schema", "data", "message"),
    [
        ('"int"', written(2**31, '"long"'), "out of the type's range"),
        ('"long"', b"\xff" * 10 + b"\0", "more than 64 bits"),
        ('"string"', b"\x02\xff", "UTF-8"),
        ('"boolean"', b"\2", "neither true nor false"),
        ('["null","int"]', b"\4", "of which there are 2"),
        ('"bytes"', b"\1", "ends too early"),
        ('{"type":"array","items":"null"}', b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f\0", "more than 1000000 values"),
        ('{"type":"record","name":"N","fields":[{"name":"n","type":["null","N"]}]}', b"\2" * 200 + b"\0", "nested"),
    ],
)
def test_bytes_that_no_reader_could_read_do_not_fit(schema: str, data: bytes, message: str) -> None:
    [(_, reason)] = told(schema, data)
    assert message in reason


def test_blocks_that_tell_their_length_are_read() -> None:
    assert not told('{"type":"array","items":"int"}', b"\3\4\2\4\0")


@pytest.mark.parametrize(
    ("change", "path", "message"),
    [
        ({}, "", ""),
        ({"next": {"shop.Order": GOOD}, "total": None, "weight": "NaN"}, "", ""),
        ({"number": 2**63}, ".number", "is no long"),
        ({"number": True}, ".number", "is no long"),
        ({"total": 1.5}, ".total", "an object named so: null, double, string"),
        ({"total": {"double": "x"}}, ".total", "is no double"),
        ({"lines": [{"a": 1}, {"b": "x"}]}, ".lines[1].b", "is no int"),
        ({"state": "LOST"}, ".state", "is no enum"),
        ({"code": "abc"}, ".code", "is no fixed"),
        ({"seal": "\u0100"}, ".seal", "is no bytes"),
        ({"more": 1}, "", "'more' is no field of the schema"),
        ({"next": {"shop.Order": {**GOOD, "paid": 1}}}, ".next.paid", "is no boolean"),
    ],
)
def test_data_in_json_are_held_to_avro_s_json_encoding(change: dict[str, Any], path: str, message: str) -> None:
    found = told(ORDER, json.dumps({**GOOD, **change}).encode(), "application/json")
    assert [(where, message in reason) for where, reason in found] == ([(f"$.data{path}", True)] if message else [])


def test_a_missing_field_no_json_and_other_media_are_told() -> None:
    assert told('{"type":"record","name":"N","fields":[{"name":"n","type":"int"}]}', b"{}", "application/json") == [
        ("$.data", "'n' is a required field")
    ]
    assert told('"null"', b"{", "application/avro+json") == [("$.data", "are no JSON")]
    assert told('"null"', b"x", "text/plain") == [("$.data", "are text/plain and no Avro")]
    assert told('"null"', None) == [] and told('"int"', None) == [("$.data", "is no int")]
