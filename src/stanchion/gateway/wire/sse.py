"""Server-sent events as they come off a connection, and as they go out.

Bytes come in pieces that are cut anywhere; an event counts once its blank line has come. Framing and reading are
apart, so that a stream which is only passed on is never taken to pieces.
Source: server-sent events, HTML Living Standard, section 9.2.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ...core.errors import Unavailable

MOST_EVENT = 16 << 20
"""The largest event, in bytes: a picture in base64 fits, a stream without end does not."""

_END = rb"(?:\r\n|\n|\r(?!\n))"
_BLANK = re.compile(_END + _END)
_MARK = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One event: its data, lines joined by a line feed, and its name, empty where it has none."""

    data: bytes
    name: str = ""


class Framer:
    """Gives the bytes of a stream up to the end of its last whole event, unchanged, and keeps the rest back.

    A client has no use for half an event, and an error can be told only between two events.
    """

    def __init__(self, *, most: int = MOST_EVENT) -> None:
        self._most = most
        self._held = bytearray()
        self._returns = False

    def feed(self, data: bytes) -> bytes:
        """The whole events so far that were not given before. Raises Unavailable for one beyond the limit."""
        held = self._held
        if not held and data.endswith(b"\n\n"):
            return data
        # The blank line may have begun in what is held: up to three bytes of it.
        start = max(0, len(held) - 3)
        held += data
        end = self._last_end(start, data)
        if len(held) - end > self._most:
            raise Unavailable(f"the upstream sent an event of more than {self._most} bytes")
        if not end:
            return b""
        whole = bytes(held[:end])
        del held[:end]
        return whole

    def rest(self) -> bytes:
        """What is left when the stream has ended: an event without its blank line, or nothing."""
        left = bytes(self._held)
        self._held.clear()
        return left

    def _last_end(self, start: int, data: bytes) -> int:
        """The place after the last blank line, 0 where there is none."""
        end = self._held.rfind(b"\n\n", start) + 2
        end = 0 if end == 1 else end
        if self._returns or b"\r" in data:
            self._returns = True
            for found in _BLANK.finditer(self._held, max(start, end)):
                end = found.end()
        return end


class SseReader:
    """Reads the events of one stream."""

    def __init__(self, *, most: int = MOST_EVENT) -> None:
        self._framer = Framer(most=most)
        self._begun = False

    def feed(self, data: bytes) -> list[Event]:
        """The events that these bytes complete. Raises Unavailable for one beyond the limit of size."""
        return self._events(self._framer.feed(data))

    def close(self) -> list[Event]:
        """The event that only the end of the stream completes, if there is one.

        The standard drops it; upstreams exist that leave the last blank line out. Half a line makes data that is no
        JSON, which its reader refuses.
        """
        return self._events(self._framer.rest())

    def _events(self, block: bytes) -> list[Event]:
        if not block:
            return []
        if not self._begun:
            self._begun = True
            block = block.removeprefix(_MARK)
        return events(block)


def events(block: bytes) -> list[Event]:
    """The events of whole frames; comments, ids and waits are left out."""
    found: list[Event] = []
    data: list[bytes] = []
    name = b""
    for line in (*block.splitlines(), b""):
        if not line:
            if data:
                found.append(Event(data[0] if len(data) == 1 else b"\n".join(data), name.decode("utf-8", "replace")))
            data, name = [], b""
            continue
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    return found


def frames(block: bytes) -> list[bytes]:
    """Whole frames apart, each with its blank line, so that together they are the block."""
    found, start = [], 0
    for blank in _BLANK.finditer(block):
        found.append(block[start : blank.end()])
        start = blank.end()
    if start < len(block):
        found.append(block[start:])
    return found


def event(data: bytes, name: str = "") -> bytes:
    """An event as bytes. `data` is one line, as compact JSON is."""
    if name:
        return b"event: %s\ndata: %s\n\n" % (name.encode(), data)
    return b"data: %s\n\n" % data
