"""The state of keys between transactions: what is held in memory counts only while the database has the same."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import BaseModel
from sqlalchemy import Connection

from stanchion.core.clock import micros
from stanchion.core.storage import Database
from stanchion.events import Event, Measure, Stream, StreamSpec, Tumbling, Windowed
from stanchion.events.backends.statements import rows as found_rows
from stanchion.events.streams.keyed import Keyed
from stanchion.events.streams.processing import Row
from stanchion.events.streams.warm import Warm
from stanchion.testing.events import caller

BASE = micros(datetime(2026, 3, 1, tzinfo=UTC))
CTX = caller()


class Reading(BaseModel):
    """A row of the stream."""

    value: float


SPEC = StreamSpec(
    name="heat",
    row=Reading,
    windows={"hour": Windowed(Tumbling(timedelta(hours=1)), {"sum": Measure("sum", "value")})},
)


def row(seconds: int, value: float) -> Row:
    return Row(Event.of("read", "test", {}, subject="a"), BASE + seconds * 1_000_000, {"value": value})


async def taken(database: Database, stream: Stream, rows: Sequence[Row]) -> None:
    await database.write(CTX, lambda connection: stream.apply(connection, CTX, rows))


async def total(database: Database) -> float:
    """The sum in the one open window that is stored."""
    ((stored,),) = await database.read(lambda c: found_rows(c, "SELECT state FROM events_stream_keys", ()))
    panes = Keyed(SPEC, bytes(stored))._panes["hour"]
    (closed,) = panes.close(BASE + 3_600_000_000)
    assert isinstance(closed.values["sum"], float)
    return closed.values["sum"]


async def test_a_transaction_that_is_undone_leaves_nothing_in_memory(database: Database) -> None:
    stream = Stream(SPEC)
    await taken(database, stream, [row(1, 1.0)])

    def undone(connection: Connection) -> None:
        stream.apply(connection, CTX, [row(2, 10.0)])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await database.write(CTX, undone)
    await taken(database, stream, [row(3, 100.0)])
    assert await total(database) == 101.0


async def test_a_process_goes_on_with_what_another_one_has_stored_since(database: Database) -> None:
    one, other = Stream(SPEC), Stream(SPEC)
    for number in range(6):
        await taken(database, other if number % 2 else one, [row(number, 10.0**number)])
    assert await total(database) == 111_111.0


def test_a_key_is_held_for_its_own_bytes_and_given_out_once() -> None:
    warm, keyed = Warm(), Keyed(SPEC, None)
    warm.put("acme", "a", b"one", keyed)
    assert warm.take("other", "a", b"one") is None
    assert warm.take("acme", "a", b"one") is keyed
    assert warm.take("acme", "a", b"one") is None
    warm.put("acme", "a", b"one", keyed)
    assert warm.take("acme", "a", b"two") is None


def test_the_oldest_keys_go_when_the_bytes_are_too_many() -> None:
    warm, keyed = Warm(10), Keyed(SPEC, None)
    for name in ("a", "b", "b", "c"):
        warm.put("acme", name, b"1234", keyed)
    assert warm.take("acme", "a", b"1234") is None
    assert warm.take("acme", "b", b"1234") is keyed and warm.take("acme", "c", b"1234") is keyed
    warm.put("acme", "d", b"more than all", keyed)
    assert warm.take("acme", "d", b"more than all") is None
