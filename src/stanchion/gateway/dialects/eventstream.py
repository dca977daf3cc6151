"""AWS's event stream: messages in binary frames, each with its lengths, headers, payload and checksums.

Source: the Smithy specification of `application/vnd.amazon.eventstream`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ...core.errors import Unavailable

MOST = 24 << 20
"""The largest message that AWS allows, in bytes."""

_PRELUDE = 12
_SHORTEST = 16
_TEXT, _BYTES = 7, 6
# Types of header values and their lengths: true, false, byte, short, int, long, timestamp, UUID.
_FIXED = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}


class Message(NamedTuple):
    """One message. Of the headers only texts are kept: no other kind means anything here."""

    headers: Mapping[str, str]
    payload: bytes


class EventStream:
    """Reads the messages of one stream, whose bytes come cut anywhere."""

    def __init__(self, *, most: int = MOST) -> None:
        self._most = most
        self._held = bytearray()

    @property
    def pending(self) -> bool:
        """Whether a message has begun and not ended."""
        return bool(self._held)

    def feed(self, data: bytes) -> list[Message]:
        """The messages that these bytes complete. Raises Unavailable for bytes that are no event stream."""
        return list(self.read(data))

    def read(self, data: bytes) -> Iterator[Message]:
        """The same, one after another: what is whole is given before what cannot be read raises."""
        self._held += data
        return self._messages()

    def _messages(self) -> Iterator[Message]:
        held = self._held
        while len(held) >= _PRELUDE:
            total, head, checksum = struct.unpack_from("!III", held)
            # Checked before the rest has come: a wrong length would have us wait for it for ever.
            if zlib.crc32(held[:8]) != checksum:
                raise Unavailable("the upstream sent an event stream whose checksum is wrong")
            if not _SHORTEST + head <= total <= self._most:
                raise Unavailable(f"the upstream sent an event of {total} bytes")
            if len(held) < total:
                return
            frame = bytes(held[:total])
            del held[:total]
            if zlib.crc32(frame[:-4]) != int.from_bytes(frame[-4:], "big"):
                raise Unavailable("the upstream sent an event whose checksum is wrong")
            yield Message(_headers(frame[_PRELUDE : _PRELUDE + head]), frame[_PRELUDE + head : -4])


def _headers(data: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    place = 0
    try:
        while place < len(data):
            length = data[place]
            name = data[place + 1 : place + 1 + length].decode()
            kind = data[place + 1 + length]
            place += 2 + length
            if kind in (_TEXT, _BYTES):
                (size,) = struct.unpack_from("!H", data, place)
                place += 2
            else:
                size = _FIXED[kind]
            value = data[place : place + size]
            if len(value) < size:
                raise ValueError(name)
            if kind == _TEXT:
                found[name] = value.decode()
            place += size
    except (IndexError, KeyError, ValueError, struct.error) as error:
        raise Unavailable("the upstream sent an event whose headers cannot be read") from error
    return found
