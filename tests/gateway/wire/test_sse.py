from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.core.errors import Unavailable
from stanchion.gateway.wire.sse import Event, Framer, SseReader, event, events, frames

STREAM = (
    b"\xef\xbb\xbf: a comment\n\nevent: named\ndata: one\ndata:two\n\n"
    b"data: three\r\nid: 7\r\n\r\ndata: four\r\rretry: 10\n\ndata\n\ndata: \xc3\xa9\n\ndata: [DONE]\n\n"
)
EVENTS = [
    Event(b"one\ntwo", "named"), Event(b"three"), Event(b"four"), Event(b""), Event("é".encode()), Event(b"[DONE]"),
]  # fmt: skip


def _split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cuts), len(data)]
    return [data[a:b] for a, b in pairwise(places)]


def test_every_cut_in_two_gives_the_same_events() -> None:
    for cut in range(len(STREAM) + 1):
        reader = SseReader()
        assert [*reader.feed(STREAM[:cut]), *reader.feed(STREAM[cut:]), *reader.close()] == EVENTS


@given(st.lists(st.integers(0, len(STREAM)), max_size=40))
def test_any_cuts_give_the_same_events_and_the_same_bytes(cuts: list[int]) -> None:
    reader, framer = SseReader(), Framer()
    found: list[Event] = []
    passed = b""
    for piece in _split(STREAM, cuts):
        found += reader.feed(piece)
        passed += framer.feed(piece)
    assert [*found, *reader.close()] == EVENTS
    assert passed + framer.rest() == STREAM


@given(st.lists(st.sampled_from([b"data: x", b"\n", b"\r", b"\r\n", b":", b"event: e", b" "]), max_size=30), st.data())
def test_line_ends_of_any_kind_are_framed_alike_however_they_are_cut(parts: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(parts)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8))
    whole, cut = SseReader(), SseReader()
    wanted = [*whole.feed(stream), *whole.close()]
    assert [e for piece in _split(stream, cuts) for e in cut.feed(piece)] + cut.close() == wanted
    assert b"".join(frames(stream)) == stream


def test_an_event_without_its_blank_line_comes_with_the_end() -> None:
    reader = SseReader()
    assert reader.feed(b"data: [DONE]\n") == []
    assert reader.close() == [Event(b"[DONE]")]


def test_half_an_event_is_held_back() -> None:
    framer = Framer()
    assert framer.feed(b"data: a\n\ndata: b") == b"data: a\n\n"
    assert framer.feed(b"\n") == b""
    assert framer.feed(b"\n") == b"data: b\n\n"
    assert framer.rest() == b""


def test_an_event_without_end_is_refused() -> None:
    framer = Framer(most=100)
    with pytest.raises(Unavailable, match="more than 100 bytes"):
        for _ in range(200):
            framer.feed(b"x")


@given(st.text(alphabet=st.characters(blacklist_characters="\r\n", blacklist_categories=["Cs"])), st.just("name"))
def test_what_is_written_is_read(text: str, name: str) -> None:
    assert events(event(text.encode(), name)) == [Event(text.encode(), name)]
    assert events(event(text.encode())) == [Event(text.encode())]
