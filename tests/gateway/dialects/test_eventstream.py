"""AWS's binary frames, read as AWS's own library reads them."""

from __future__ import annotations

import struct
import zlib

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from stanchion.core.errors import Unavailable
from stanchion.gateway.dialects.eventstream import EventStream, Message
from stanchion.testing.upstreams.families.aws import event, frame

headers = st.dictionaries(st.text(min_size=1, max_size=10), st.text(max_size=20), max_size=4)
messages = st.lists(st.tuples(headers, st.binary(max_size=80)), min_size=1, max_size=4)


def framed(head: bytes, payload: bytes) -> bytes:
    """A message around header bytes of any kind."""
    prelude = struct.pack("!II", len(head) + len(payload) + 16, len(head))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + head + payload
    return message + struct.pack("!I", zlib.crc32(message))


@given(sent=messages, size=st.integers(1, 40))
def test_messages_come_out_as_they_went_in_wherever_they_are_cut(
    sent: list[tuple[dict[str, str], bytes]], size: int
) -> None:
    data = b"".join(frame(head, payload) for head, payload in sent)
    stream = EventStream()
    read = [message for start in range(0, len(data), size) for message in stream.feed(data[start : start + size])]
    assert read == [Message(head, payload) for head, payload in sent]
    assert not stream.pending
    theirs = EventStreamBuffer()
    theirs.add_data(data)
    assert [(dict(message.headers), message.payload) for message in theirs] == sent


@given(data=st.data(), payload=st.binary(max_size=40))
def test_no_changed_bit_goes_unseen(data: st.DataObject, payload: bytes) -> None:
    message = bytearray(frame({":event-type": "x"}, payload))
    place = data.draw(st.integers(0, len(message) * 8 - 1))
    message[place // 8] ^= 1 << place % 8
    stream = EventStream()
    with pytest.raises(Unavailable):
        stream.feed(bytes(message))


def test_a_message_that_is_cut_off_is_pending() -> None:
    stream = EventStream()
    assert stream.feed(event("messageStop", {})[:-1]) == []
    assert stream.pending


def test_other_kinds_of_headers_are_passed_over() -> None:
    kinds = b"".join(
        b"\x01a" + bytes([kind]) + bytes(size)
        for kind, size in ((0, 0), (1, 0), (2, 1), (3, 2), (4, 4), (5, 8), (8, 8), (9, 16))
    )
    data = framed(kinds + b"\x01b\x06\x00\x02xy" + b"\x01c\x07\x00\x02xy", b"{}")
    assert EventStream().feed(data) == [Message({"c": "xy"}, b"{}")]


@pytest.mark.parametrize("head", [b"\x05a", b"\x01a\x0a", b"\x01a\x07\x00\x09xy", b"\x01a\x07\x00", b"\x01\xff\x00"])
def test_headers_that_cannot_be_read_are_the_upstreams_fault(head: bytes) -> None:
    with pytest.raises(Unavailable, match="headers"):
        EventStream().feed(framed(head, b""))


def test_a_message_beyond_the_limit_is_refused_before_it_has_come() -> None:
    data = framed(b"", bytes(100))
    with pytest.raises(Unavailable, match="116 bytes"):
        EventStream(most=64).feed(data[:12])
    with pytest.raises(Unavailable):
        EventStream().feed(b"data: {}\n\ndata: {}\n\n")
