"""CloudEvents in binary mode: attributes as headers, and as MQTT user properties."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stanchion.core.errors import InvalidInput
from stanchion.events import Event
from stanchion.events.wire import binary

HEAD = {"ce-specversion": "1.0", "ce-id": "1", "ce-type": "a.b", "ce-source": "/here"}


def headers(**changes: str) -> list[tuple[bytes, bytes]]:
    given = {**HEAD, **{name.replace("_", "-"): value for name, value in changes.items()}}
    return [(name.encode(), value.encode("latin-1")) for name, value in given.items()]


def test_attributes_are_headers_and_data_are_the_body() -> None:
    read = binary.read(
        headers(ce_subject="a", ce_time="2026-01-01T00:00:00Z", ce_extra="1", content_type="application/json"),
        b'{"a": 1}',
    )
    assert (read.type, read.subject, read.extensions, read.json()) == ("a.b", "a", {"extra": "1"}, {"a": 1})
    assert binary.is_binary(headers()) and not binary.is_binary([(b"content-type", b"a/b")])


def test_escaped_values_are_read_as_utf_8() -> None:
    assert binary.read(headers(ce_subject="Euro%20%E2%82%AC%20%F0%9F%98%80"), b"").subject == "Euro € 😀"
    assert binary.read(headers(ce_subject='"a b \\" c"'), b"").subject == 'a b " c'
    assert binary.encoded('Euro € "100%"') == "Euro%20%E2%82%AC%20%22100%25%22"


WRONG: dict[str, tuple[dict[str, str], bytes, str]] = {
    "bytes outside ASCII": ({"ce_subject": "é"}, b"", "ce-subject"),
    "a lone percent sign": ({"ce_subject": "100%"}, b"", "ce-subject"),
    "an escape that is no UTF-8": ({"ce_subject": "%FF"}, b"", "ce-subject"),
    "an escaped control character": ({"ce_subject": "a%0Ab"}, b"", "ce-subject"),
    "an overlong escape": ({"ce_subject": "%C0%80"}, b"", "ce-subject"),
    "an escaped half of a pair": ({"ce_subject": "%ED%A0%80"}, b"", "ce-subject"),
    "a type of content as an attribute": ({"ce_datacontenttype": "a/b"}, b"", "ce-datacontenttype"),
    "a type of content that is none": ({"content_type": "xyz"}, b"x", "content-type"),
    "data that are not what their type says": ({"content_type": "application/json"}, b"{", "data"),
    "data that say a name twice": ({"content_type": "application/json"}, b'{"a":1,"a":2}', "data"),
    "an empty id": ({"ce_id": ""}, b"", "ce-id"),
    "another version": ({"ce_specversion": "0.3"}, b"", "ce-specversion"),
    "a name with a dash": ({"ce_a_b": "1"}, b"", "ce-a-b"),
    "data as an attribute": ({"ce_data": "1"}, b"", "ce-data"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused_with_its_header(name: str) -> None:
    changes, body, place = WRONG[name]
    with pytest.raises(InvalidInput) as refused:
        binary.read(headers(**changes), body)
    assert [fault.path for fault in refused.value.fields] == [place]


def test_a_header_given_twice_is_refused() -> None:
    with pytest.raises(InvalidInput) as refused:
        binary.read([*headers(), (b"ce-id", b"2")], b"")
    assert [fault.path for fault in refused.value.fields] == ["ce-id"]


def test_a_body_of_no_known_type_is_bytes_and_no_body_is_no_data() -> None:
    assert binary.read(headers(), b"\x00").content_type == "application/octet-stream"
    assert binary.read(headers(), b"").data is None
    assert binary.read(headers(content_type="text/plain"), b"").data == b""


_TEXT = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=20).filter(
    lambda text: not any(ord(c) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(c) <= 0xFDEF for c in text)
)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(_TEXT, _TEXT, st.dictionaries(st.from_regex(r"ext[a-z0-9]{1,8}", fullmatch=True), _TEXT), st.binary(min_size=1))
def test_any_text_survives_the_way_through_headers(
    identity: str, subject: str, extensions: dict[str, str], data: bytes
) -> None:
    one = Event(
        type="t", source="s", id=identity, subject=subject, data=data, content_type="image/png", extensions=extensions
    )
    told, body = binary.written(one)
    assert all(value.isascii() and value.isprintable() for _, value in told)
    assert binary.read([(name.encode(), value.encode("ascii")) for name, value in told], body) == one


def test_mqtt_properties_carry_the_attributes_without_a_prefix() -> None:
    one = Event(type="t", source="s", id="1", subject="a € b", data=b"x", content_type="text/plain")
    properties = [("specversion", "1.0"), ("id", "1"), ("type", "t"), ("source", "s"), ("subject", "a € b")]
    assert binary.from_properties(properties, b"x", "text/plain") == one
    with pytest.raises(InvalidInput) as refused:
        binary.from_properties([*properties, ("id", "2")], b"", None)
    assert [fault.path for fault in refused.value.fields] == ["id"]
    assert binary.from_properties(properties, b"", None) == replace(one, data=None, content_type=binary.UNKNOWN)
