"""Entries as NATS messages: those of one lane travel together, so that they are stored together and in order.

One message for each entry would be four times the work, and a connection that breaks between two of them could leave
the second one stored without the first. A body that a message cannot hold is stored in parts before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from ...ports import SLOTS, Entry

INDEX_BITS = 10
"""Position = sequence of the message x 1,024 + place of the entry in it."""
LAST = (1 << INDEX_BITS) - 1
MOST = LAST
"""Entries of a message at most."""


class Frame(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One entry; `body` are sequences of its parts where it did not fit."""

    tenant: str
    type: str
    body: bytes | list[int]


@dataclass(slots=True)
class Packed:
    """A message to be: the lane, its frames, and the entries' places in what was given."""

    lane: int
    frames: list[Frame] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    size: int = 0

    @property
    def subject(self) -> str:
        """Priority, lane, size class and number of entries (at most 3 % too many).

        By the first the server picks what is read, by the last two it counts what is behind.
        """
        number = len(self.frames)
        grain = max(0, number.bit_length() - 6)
        return f"{priority_of(self.lane)}.{self.lane}.{(number - 1).bit_length()}.{-(-number >> grain) << grain}"


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[Frame])
_OVERHEAD = 32


def packed(entries: Sequence[Entry], bodies: Sequence[bytes | list[int]], room: int) -> Iterator[Packed]:
    """The messages, in an order that keeps each lane's own. `bodies` stand for those of the entries."""
    open_: dict[int, Packed] = {}
    for place, (entry, body) in enumerate(zip(entries, bodies, strict=True)):
        size = _OVERHEAD + 4 * (len(entry.tenant) + len(entry.type)) + (len(body) if isinstance(body, bytes) else 600)
        message = open_.get(entry.lane)
        if message is not None and (message.size + size > room or len(message.frames) >= MOST):
            yield message
            message = None
        if message is None:
            message = open_[entry.lane] = Packed(entry.lane)
        message.frames.append(Frame(entry.tenant, entry.type, body))
        message.places.append(place)
        message.size += size
    yield from open_.values()


def rounds(messages: Sequence[Packed]) -> Iterator[list[Packed]]:
    """The messages in groups with one of each lane: the next is sent when those before it are stored.

    Messages of one lane under way together could be stored without the first one, when a connection breaks.
    """
    left = list(messages)
    while left:
        lanes: set[int] = set()
        now: list[Packed] = []
        later: list[Packed] = []
        for message in left:
            (later if message.lane in lanes else now).append(message)
            lanes.add(message.lane)
        yield now
        left = later


def parts(body: bytes, room: int) -> Iterator[bytes]:
    """A body in pieces that a message can hold."""
    for start in range(0, len(body), room):
        yield body[start : start + room]


def priority_of(lane: int) -> int:
    """0 to 2: lanes of one priority are read for themselves where there is a backlog."""
    return lane // SLOTS


def lane_of(subject: str) -> int:
    """The lane that the message is of."""
    return int(subject.rsplit(".", 3)[1])


def encode(message: Packed) -> bytes:
    """The payload."""
    return _ENCODER.encode(message.frames)


def decode(payload: bytes) -> list[Frame]:
    """The frames of a payload. Raises msgspec.DecodeError for what is none."""
    return _DECODER.decode(payload)


def position(sequence: int, index: int = LAST) -> int:
    """Where an entry stands; without an index, where the message ends."""
    return sequence << INDEX_BITS | index


def complete(position: int) -> int:
    """The sequence of the last message of which nothing is behind the position."""
    sequence, index = position >> INDEX_BITS, position & LAST
    return sequence if index == LAST else max(0, sequence - 1)
