"""A key that says nothing: its windows close with the clock, and what comes after that is late."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from stanchion.core.clock import moment
from stanchion.core.errors import Misconfigured
from stanchion.core.storage import Database
from stanchion.events import (
    Event,
    HandlerSpec,
    Measure,
    Progress,
    RobustZ,
    Stream,
    StreamSpec,
    Tumbling,
    Windowed,
)
from stanchion.events.backends.statements import rows as found_rows
from stanchion.events.packing import NoSeal, unpack
from stanchion.testing.clock import FakeClock
from stanchion.testing.events import caller, running, sqlite_url

BASE = datetime(2026, 3, 1, tzinfo=UTC)
CTX = caller()
PATIENCE = 60.0
MINUTE = timedelta(minutes=1)


class Reading(BaseModel):
    """A row of the stream."""

    at: datetime
    value: float


SPEC = StreamSpec(
    name="heat",
    row=Reading,
    time="at",
    windows={"minute": Windowed(Tumbling(MINUTE), {"n": Measure("count")})},
    progress=Progress(timedelta(seconds=5), silence=timedelta(minutes=10)),
)


def reading(seconds: float, key: str = "a") -> Event:
    return Event.of("read", "test", Reading(at=BASE + timedelta(seconds=seconds), value=1.0), subject=key)


class Watched:
    """A stream over a database of its own, with a clock that stands still."""

    def __init__(self, database: Database, spec: StreamSpec) -> None:
        self.database = database
        self.clock = FakeClock()
        self.stream = Stream(spec, self.clock)

    async def take(self, *events: Event) -> None:
        rows = [self.stream._read(event) for event in events]
        await self.database.write(CTX, lambda connection: self.stream.apply(connection, CTX, rows))

    async def due(self) -> list[tuple[timedelta, Event]]:
        """What is kept for later, and how long from now."""
        found = await self.database.read(lambda c: found_rows(c, "SELECT due, body FROM events_delayed ORDER BY due"))
        return [(moment(due) - self.clock.now(), unpack(bytes(body), NoSeal()).event) for due, body in found]

    async def told(self) -> list[tuple[str, dict[str, Any]]]:
        """What the stream has told so far."""
        found = await self.database.read(lambda c: found_rows(c, "SELECT body FROM events_log ORDER BY seq"))
        events = [unpack(bytes(body), NoSeal()).event for (body,) in found]
        return [(event.type, event.json()) for event in events]


async def test_a_window_closes_when_the_clock_has_passed_its_end_and_the_silence(database: Database) -> None:
    watched = Watched(database, SPEC)
    await watched.take(reading(10))
    ((wait, wake),) = await watched.due()
    # The end is 50 s after the row, the lag 5 s, and then the silence.
    assert wait == timedelta(minutes=10, seconds=55) and wake.type == "heat.silent" and wake.key == "a"
    watched.clock.advance(wait.total_seconds())
    await watched.take(wake)
    ((kind, closed),) = await watched.told()
    assert kind == "heat.closed" and closed["values"] == {"n": 1}
    await watched.take(reading(30))
    assert [kind for kind, _ in await watched.told()] == ["heat.closed", "heat.late"]


async def test_a_key_that_has_spoken_since_is_not_silent_and_is_woken_again(database: Database) -> None:
    watched = Watched(database, SPEC)
    await watched.take(reading(10))
    ((wait, wake),) = await watched.due()
    watched.clock.advance(wait.total_seconds() - 1)
    await watched.take(reading(20))
    assert len(await watched.due()) == 1, "one wake at a time"
    watched.clock.advance(1)
    await watched.take(wake)
    assert await watched.told() == []
    again = (await watched.due())[-1]
    assert again[0] == timedelta(minutes=10, seconds=45 - 1)
    watched.clock.advance(again[0].total_seconds())
    await watched.take(again[1])
    ((_, closed),) = await watched.told()
    assert closed["values"] == {"n": 2}


async def test_a_process_that_stood_still_takes_the_rows_before_it_finds_silence(database: Database) -> None:
    watched = Watched(database, SPEC)
    await watched.take(reading(10))
    ((_, wake),) = await watched.due()
    watched.clock.advance(86_400)
    await watched.take(reading(15), wake, reading(20))
    assert await watched.told() == []


async def test_rows_behind_a_wake_count_by_the_moment_that_it_was_kept_until(database: Database) -> None:
    watched = Watched(database, SPEC)
    await watched.take(reading(10))
    ((_, wake),) = await watched.due()
    watched.clock.advance(86_400)
    await watched.take(wake)
    await watched.take(reading(70), reading(200))
    assert [(kind, value["start"]) for kind, value in await watched.told()] == [
        ("heat.closed", BASE.isoformat()),
        ("heat.closed", (BASE + MINUTE).isoformat()),
    ]


async def test_rows_that_wait_for_their_turn_are_scored_after_the_silence(database: Database) -> None:
    spec = replace(SPEC, windows={}, detectors={"level": RobustZ("value", memory=10, warm=2)}, tells="all")
    watched = Watched(database, spec)
    await watched.take(reading(10), reading(11))
    ((wait, wake),) = await watched.due()
    watched.clock.advance(wait.total_seconds())
    await watched.take(wake)
    ((again, last),) = [each for each in await watched.due() if each[0] > timedelta(0)]
    watched.clock.advance(again.total_seconds())
    await watched.take(last)
    assert [kind for kind, _ in await watched.told()] == ["heat.scored", "heat.scored"]


async def test_an_event_that_nobody_of_the_house_made_closes_nothing_before_its_time(database: Database) -> None:
    watched = Watched(database, SPEC)
    await watched.take(reading(10))
    ((wait, wake),) = await watched.due()
    watched.clock.advance(wait.total_seconds() - 61)
    far = replace(wake, id="far", data=b'{"at": "2999-01-01T00:00:00+00:00"}')
    await watched.take(far, wake)
    assert await watched.told() == []
    watched.clock.advance(61)
    await watched.take(wake)
    assert [kind for kind, _ in await watched.told()] == ["heat.closed"]


async def test_without_a_silence_nothing_is_kept_and_windows_stay_open(database: Database) -> None:
    watched = Watched(database, replace(SPEC, progress=Progress()))
    await watched.take(reading(10))
    assert watched.stream.wakes == () and await watched.due() == []


async def test_a_key_without_anything_open_is_left_asleep(database: Database) -> None:
    watched = Watched(database, SPEC)
    await watched.take(reading(10))
    ((wait, wake),) = await watched.due()
    watched.clock.advance(wait.total_seconds())
    await watched.take(wake)
    assert [each for each in await watched.due() if each[0] > timedelta(0)] == []


async def test_over_the_bus_the_only_key_of_a_stream_is_woken(tmp_path: Path) -> None:
    spec = replace(
        SPEC,
        windows={"short": Windowed(Tumbling(timedelta(seconds=1)), {"n": Measure("count")})},
        progress=Progress(silence=timedelta(milliseconds=200)),
    )
    stream = Stream(spec)
    handler = HandlerSpec(name="heat", types=("read", *stream.wakes), function=stream.handle, batch=20, concurrency=1)
    async with running(sqlite_url(tmp_path), handler) as events, asyncio.timeout(PATIENCE):
        await events.publish(CTX, [reading(0.2)])
        while any(view.behind or view.running for view in await events.consumers(CTX)):
            await asyncio.sleep(0.02)
        # The bus looks every ten seconds for what others keep for later, and at once for what is published so.
        await events.publish(CTX, [Event.of("ring", "test", {})], after=datetime.now(UTC) + timedelta(seconds=0.5))
        async for each in events.follow(CTX, types=["heat.closed"], since="0"):
            assert each.event.json()["values"] == {"n": 1}
            break


def test_a_silence_of_nothing_is_refused() -> None:
    with pytest.raises(Misconfigured):
        Progress(silence=timedelta(0))
