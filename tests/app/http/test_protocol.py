"""Head and body of an answer leave in one piece, and nothing is kept back for longer than a turn of the loop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stanchion.app.http.protocol import JoinedWrites


class Wire:
    """What a transport was told."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    def writelines(self, pieces: tuple[bytes, ...]) -> None:
        self.sent.append(b"".join(pieces))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
async def joined(wire: Wire) -> Any:
    return JoinedWrites(wire, asyncio.get_running_loop())  # type: ignore[arg-type]  # a double with what is called


async def test_head_and_body_leave_together(wire: Wire, joined: Any) -> None:
    joined.write(b"head ")
    joined.write(b"body")
    await asyncio.sleep(0)
    assert wire.sent == [b"head body"]


async def test_a_head_whose_body_is_long_in_coming_leaves_alone(wire: Wire, joined: Any) -> None:
    joined.write(b"head")
    assert wire.sent == []
    await asyncio.sleep(0)
    joined.write(b"body")
    await asyncio.sleep(0)
    assert wire.sent == [b"head", b"body"]


async def test_pieces_of_a_stream_leave_in_their_order(wire: Wire, joined: Any) -> None:
    for number in range(9):
        joined.write(b"%d" % number)
        if number % 4 == 3:
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert b"".join(wire.sent) == b"012345678"


async def test_what_is_held_leaves_before_the_connection_closes(wire: Wire, joined: Any) -> None:
    joined.write(b"last words")
    joined.close()
    await asyncio.sleep(0)
    assert wire.sent == [b"last words"]
    assert joined.is_closing()
