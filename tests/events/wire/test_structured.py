"""CloudEvents as JSON: the conformance data, and what it leaves out."""

from __future__ import annotations

import base64
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stanchion.core.errors import InvalidInput, MalformedRequest, PayloadTooLarge
from stanchion.events import Event
from stanchion.events.wire import structured

MINIMAL = {"specversion": "1.0", "id": "1", "type": "a.b", "source": "/here"}


def official(name: str) -> list[dict[str, Any]]:
    """The cases of one file of the conformance data, empty where it is not at hand."""
    folder = os.environ.get("STANCHION_TEST_DATA")
    file = Path(folder) / "cloudevents" / name if folder else None
    return json.loads(file.read_text())["tests"] if file is not None and file.is_file() else []


def event(**changes: Any) -> bytes:
    return json.dumps({**MINIMAL, **changes}).encode()


@pytest.mark.parametrize("case", official("invalid-events.json"), ids=lambda case: case["id"])
def test_each_invalid_event_of_the_conformance_data_is_refused_with_the_attribute(case: dict[str, Any]) -> None:
    whole = {"specversion": "1.0", "id": "1", "type": "t", "source": "s"}
    wrong = {k for k in {*whole, *case["event"]} if case["event"].get(k) != whole.get(k)}
    with pytest.raises(InvalidInput) as refused:
        structured.read(json.dumps(case["event"]).encode())
    assert {fault.path.removeprefix("$.") for fault in refused.value.fields} <= wrong
    assert refused.value.status == 422


@pytest.mark.parametrize("case", official("invalid-batches.json"), ids=lambda case: case["id"])
def test_each_invalid_batch_of_the_conformance_data_is_refused_with_its_place(case: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        structured.read_batch(json.dumps(case["batch"]).encode())
    assert all(fault.path.startswith("$[") for fault in refused.value.fields)


@pytest.mark.parametrize("case", official("valid-events.json"), ids=lambda case: case["id"])
def test_each_valid_event_of_the_conformance_data_is_taken_and_comes_out_as_it_was(case: dict[str, Any]) -> None:
    read = structured.read(json.dumps(case["event"]).encode())
    given = {k: v for k, v in case["event"].items() if v is not None}
    told = msgspec.json.decode(structured.written(read))
    if "time" in given:
        at = datetime.fromisoformat(given.pop("time").replace(".000000000", ""))
        assert datetime.fromisoformat(told.pop("time")) == at
    assert told == given
    assert structured.read(structured.written(read)) == read


@pytest.mark.parametrize("case", official("valid-batches.json"), ids=lambda case: case["id"])
def test_each_valid_batch_of_the_conformance_data_is_taken(case: dict[str, Any]) -> None:
    read = structured.read_batch(json.dumps(case["batch"]).encode())
    assert [each.id for each in read] == [each["id"] for each in case["batch"]]
    assert structured.read_batch(structured.written_batch(read)) == read


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a space instead of T": ({"time": "2026-01-01 00:00:00Z"}, "$.time"),
    "a day that is none": ({"time": "2026-02-29T00:00:00Z"}, "$.time"),
    "no offset": ({"time": "2026-01-01T00:00:00"}, "$.time"),
    "an hour of 24": ({"time": "2026-01-01T24:00:00Z"}, "$.time"),
    "a leap second at noon": ({"time": "2026-01-01T12:00:60Z"}, "$.time"),
    "a week date": ({"time": "2026-W01-1T00:00:00Z"}, "$.time"),
    "digits of another script": ({"time": "٢٠٢٦-01-01T00:00:00Z"}, "$.time"),
    "a source with a space": ({"source": "a b"}, "$.source"),
    "a source with a broken escape": ({"source": "/a%2"}, "$.source"),
    "a source with letters of another script": ({"source": "/é"}, "$.source"),
    "a relative source with a colon in its first part": ({"source": "1a:b"}, "$.source"),
    "a schema that is relative": ({"dataschema": "/schemas/a"}, "$.dataschema"),
    "a schema with a fragment": ({"dataschema": "https://a/b#c"}, "$.dataschema"),
    "a media type with a space": ({"datacontenttype": "text /plain"}, "$.datacontenttype"),
    "an extension that is a fraction": ({"ext": 1.5}, "$.ext"),
    "an extension that is a whole fraction": ({"ext": 1.0}, "$.ext"),
    "an extension that is an object": ({"ext": {}}, "$.ext"),
    "an extension that is a list": ({"ext": []}, "$.ext"),
    "an integer of 33 bits": ({"ext": 2**31}, "$.ext"),
    "a name with a dash": ({"a-b": 1}, "$.a-b"),
    "an empty name": ({"": 1}, "$."),
    "a name of another script": ({"ä": 1}, "$.ä"),
    "a control character": ({"subject": "a\nb"}, "$.subject"),
    "a noncharacter": ({"subject": "a\ufffeb"}, "$.subject"),
    "a noncharacter of a higher plane": ({"subject": "a\U0001fffeb"}, "$.subject"),
    "an empty partition key": ({"partitionkey": ""}, "$.partitionkey"),
    "a Boolean as an id": ({"id": True}, "$.id"),
    "a version that is a number": ({"specversion": 1.0}, "$.specversion"),
    "text that is no string": ({"datacontenttype": "text/plain", "data": {"a": 1}}, "$.data"),
    "base64 that is none": ({"data_base64": "a"}, "$.data_base64"),
    "base64 for URLs": ({"data_base64": "-_-_"}, "$.data_base64"),
    "base64 that is a number": ({"data_base64": 1}, "$.data_base64"),
    "no data and bytes at once": ({"data": None, "data_base64": "YQ=="}, "$.data_base64"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_the_conformance_data_leaves_out_is_refused_with_the_attribute(name: str) -> None:
    changes, path = WRONG[name]
    with pytest.raises(InvalidInput) as refused:
        structured.read(event(**changes))
    assert [fault.path for fault in refused.value.fields] == [path]


@pytest.mark.parametrize(
    "changes",
    [
        {"time": "2016-12-31T23:59:60Z"},
        {"time": "2026-01-01t00:00:00.123456789z"},
        {"source": "urn:uuid:1-2"},
        {"source": "//host:80/a;b=c?d#e"},
        {"source": "http://[::1]/a%20b"},
        {"datacontenttype": 'multipart/mixed; boundary="a b"', "data": "x"},
        {"ext": -(2**31)},
        {"ext": ""},
        {"averylongextensionnamethatisnotforbidden": "x"},
        {"data": None},
        {"data": [1, {"a": 1.50}]},
        {"datacontenttype": "application/vnd.a+json; charset=UTF-8", "data": {"b": 2}},
        {"data_base64": ""},
        {"data": "x", "data_base64": None},
    ],
)
def test_what_the_standard_admits_is_taken_and_keeps_its_meaning(changes: dict[str, Any]) -> None:
    read = structured.read(event(**changes))
    assert structured.read(structured.written(read)) == read


def test_every_fault_is_named_at_once_and_the_first_of_them_in_words() -> None:
    with pytest.raises(InvalidInput) as refused:
        structured.read(b'{"specversion": "1.0", "id": "", "time": "noon", "Ext": 1, "type": "t"}')
    assert {fault.path for fault in refused.value.fields} == {"$.id", "$.source", "$.time", "$.Ext"}
    assert "$.source is required" in refused.value.detail


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(MalformedRequest, match="given twice"):
        structured.read(b'{"specversion": "1.0", "id": "1", "id": "2", "type": "t", "source": "s"}')


def test_a_batch_holds_at_most_a_thousand_events() -> None:
    with pytest.raises(PayloadTooLarge):
        structured.read_batch(json.dumps([MINIMAL] * 1_001).encode())


@pytest.mark.parametrize("document", [b"[]", b"1", b"null", b'"x"'])
def test_what_is_no_object_is_no_event(document: bytes) -> None:
    with pytest.raises(InvalidInput):
        structured.read(document)


def test_json_data_keep_their_bytes() -> None:
    document = b'{"specversion":"1.0","id":"1","type":"t","source":"s","data":{"b": 1.0,  "a":[ 1e2 ]}}'
    assert structured.read(document).data == b'{"b": 1.0,  "a":[ 1e2 ]}'


def test_a_moment_is_held_in_utc_to_the_microsecond() -> None:
    read = structured.read(event(time="2026-01-01T01:00:00.123456789+01:00"))
    assert read.time == datetime(2026, 1, 1, 0, 0, 0, 123456, tzinfo=UTC)


_TEXT = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=20).filter(
    lambda text: not any(ord(c) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(c) <= 0xFDEF for c in text)
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)
_DATA = st.one_of(
    st.tuples(st.none(), st.just("application/json")),
    st.tuples(_JSON.map(lambda value: json.dumps(value).encode()), st.just("application/json")),
    st.tuples(_TEXT.map(str.encode), st.sampled_from(["text/plain", "text/csv; charset=utf-8", "application/xml"])),
    st.tuples(st.binary(max_size=20), st.sampled_from(["application/octet-stream", "text/plain", "image/png"])),
)
EVENTS = st.builds(
    lambda kind, source, identity, subject, time, data, extensions: Event(
        type=kind, source=source, id=identity, subject=subject, time=time, data=data[0], content_type=data[1],
        extensions=extensions,
    ),
    _TEXT.filter(bool),
    st.sampled_from(["/a", "urn:a:b", "https://a.b/c?d=%20", "#f"]),
    _TEXT.filter(bool),
    _TEXT,
    st.none() | st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)),
    _DATA,
    st.dictionaries(
        st.from_regex(r"ext[a-z0-9]{1,8}", fullmatch=True),
        _TEXT | st.booleans() | st.integers(-(2**31), 2**31 - 1),
        max_size=3,
    ),
)  # fmt: skip


@settings(derandomize=True, deadline=None, max_examples=200)
@given(EVENTS)
def test_an_event_survives_the_way_out_and_in(one: Event) -> None:
    assert structured.read(structured.written(one)) == one
    assert structured.read_batch(structured.written_batch([one, one])) == [one, one]


def test_bytes_that_only_call_themselves_json_travel_as_base64() -> None:
    broken = Event(type="t", source="s", id="1", data=b"{", content_type="application/json")
    document = json.loads(structured.written(broken))
    assert base64.b64decode(document["data_base64"]) == b"{"
