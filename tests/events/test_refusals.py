"""What keeps its order though slots change hands and the database refuses to note a failure."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import Connection, text

from stanchion.core.clock import micros
from stanchion.core.context import system_context
from stanchion.core.errors import StanchionError
from stanchion.core.storage import Database
from stanchion.core.storage.open import open_database
from stanchion.events import SLOTS
from stanchion.events.keeping import finishing
from stanchion.events.keeping.finishing import Answer, Finish
from stanchion.events.keeping.slots import HOUSE, Consumer, beat
from stanchion.events.packing import lane_of
from stanchion.testing.event_contract import Seen, event, eventually
from stanchion.testing.events import caller, running, sqlite_url

CTX = system_context("acme", task="test")
OTHER = "zzz"
Refuses = Callable[[bool], Awaitable[None]]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(request.getfixturevalue("postgres_url")) if request.param == "postgres" else sqlite_url(tmp_path)


@pytest_asyncio.fixture
async def database(url: str) -> AsyncIterator[Database]:
    database = open_database(url)
    yield database
    await database.close()


async def run(database: Database, statement: str, **values: str) -> None:
    await database.write(CTX, lambda c: c.execute(text(statement), values).rowcount)


def join(connection: Connection) -> None:
    """Another process comes, and says that it lives for a long time."""
    beat(connection, OTHER, {Consumer(HOUSE, "seen"): {}}, now=micros(datetime.now(UTC)), until=2**60)


async def test_a_process_that_loses_a_slot_forgets_which_of_its_keys_wait(url: str, database: Database) -> None:
    seen = Seen()
    seen.faults = {1: [RuntimeError("not yet")]}

    first = event(1)
    async with running(url, seen.spec(base=600.0, maximum=600.0), lease_seconds=0.6) as events:
        await events.publish(caller(), [first])
        await eventually(lambda: events.consumers(caller()), lambda found: found[0].waiting == 1)
        # Another process takes all slots and handles what waits there.
        await database.write(CTX, join)
        await run(database, "UPDATE events_slots SET holder = :other, token = token + 1", other=OTHER)
        await run(database, "DELETE FROM events_parked")
        noted = "INSERT INTO events_handled (tenant, consumer, source, id) VALUES ('acme', 'seen', '/test', :id)"
        await run(database, noted, id=first.id)
        await eventually(lambda: events.consumers(caller()), lambda found: found[0].holders == 2)
        await run(database, "DELETE FROM events_holders WHERE holder = :other", other=OTHER)
        await run(database, "UPDATE events_slots SET holder = ''")
        await events.publish(caller(), [event(2)])
        assert await seen.until(1) == [("k", 2)]


TRIGGER = "CREATE TRIGGER refused BEFORE INSERT ON {table} WHEN NEW.{rows} BEGIN SELECT RAISE(ABORT, 'refused'); END"
CONSTRAINT = "ALTER TABLE {table} ADD CONSTRAINT refused CHECK (NOT ({rows})) NOT VALID"


async def test_what_waits_behind_a_failure_that_was_never_noted_does_not_come_before_it(
    url: str, database: Database
) -> None:
    first = Seen()
    first.faults = {1: [RuntimeError("not yet")]}
    async with running(url, first.spec()) as events:
        await by_the_engine(database, "events_parked", "due IS NOT NULL")(True)
        await events.publish(caller(), [event(1)])
        await eventually(lambda: failed(first), bool)
        await events.publish(caller(), [event(2)])
        await eventually(lambda: events.consumers(caller()), lambda found: found[0].waiting == 1)
    await by_the_engine(database, "events_parked")(False)
    second = Seen()
    async with running(url, second.spec()):
        assert await second.until(2) == [("k", 1), ("k", 2)]


def by_the_engine(database: Database, table: str, rows: str = "lane IS NOT NULL") -> Refuses:
    """Such rows of the table are refused by the database itself."""
    postgres = database.dialect == "postgresql"
    sets = CONSTRAINT if postgres else TRIGGER
    lifts = "ALTER TABLE {table} DROP CONSTRAINT refused" if postgres else "DROP TRIGGER refused"
    return lambda refuses: run(database, (sets if refuses else lifts).format(table=table, rows=rows))


def by_the_house(monkeypatch: pytest.MonkeyPatch) -> Refuses:
    """A failure is refused with an error of the house that is not Unavailable."""
    finish = finishing.finish
    refused = False

    def refuse(connection: Connection, finishes: Sequence[Finish]) -> list[Answer]:
        if refused and any(each.verdict != "done" for each in finishes):
            raise StanchionError("refused")
        return finish(connection, finishes)

    async def sets(refuses: bool) -> None:
        nonlocal refused
        refused = refuses

    monkeypatch.setattr("stanchion.events.workers.committer.finish", refuse)
    return sets


@pytest.fixture(params=["engine", "house"])
def refuses(
    request: pytest.FixtureRequest, database: Database, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Refuses]:
    """Has failures refused from the call with True on until that with False; the argument names their table."""
    return lambda table: by_the_engine(database, table) if request.param == "engine" else by_the_house(monkeypatch)


async def test_an_event_whose_retry_cannot_be_noted_is_not_overtaken(
    url: str, refuses: Callable[[str], Refuses], caplog: pytest.LogCaptureFixture
) -> None:
    seen = Seen()
    seen.faults = {1: [RuntimeError("not yet")]}
    refused = refuses("events_parked")
    async with running(url, seen.spec()) as events:
        await refused(True)
        await events.publish(caller(), [event(1)])
        await eventually(lambda: failed(seen), bool)
        await events.publish(caller(), [event(2)])
        await refused_again(caplog)
        await refused(False)
        assert await seen.until(2) == [("k", 1), ("k", 2)]


async def test_an_event_that_cannot_be_buried_is_held_until_it_can_be(
    url: str, refuses: Callable[[str], Refuses], caplog: pytest.LogCaptureFixture
) -> None:
    seen = Seen()
    seen.faults = {1: [RuntimeError("never")]}
    refused = refuses("events_dead")
    async with running(url, seen.spec(attempts=1)) as events:
        await refused(True)
        await events.publish(caller(), [event(1), event(2)])
        await eventually(lambda: failed(seen), bool)
        await refused_again(caplog)
        await refused(False)
        assert await seen.until(1) == [("k", 2)]
        [letter] = await events.dead(caller())
        assert [each.error for each in letter.history] == ["RuntimeError: never"]


async def test_a_slot_is_left_though_a_failure_in_it_cannot_be_noted(
    url: str, database: Database, refuses: Callable[[str], Refuses]
) -> None:
    seen = Seen()
    seen.faults = {1: [RuntimeError("not yet")]}
    refused = refuses("events_parked")
    # Of two processes the later one's share are the odd slots.
    key, slot = next((k, s) for k in "abcdefgh" if (s := lane_of("acme", k, "normal") % SLOTS) % 2)

    async def holder() -> object:
        query = text("SELECT holder FROM events_slots WHERE slot = :slot AND consumer = 'seen'")
        return await database.read(lambda c: c.execute(query, {"slot": slot}).scalar_one())

    async with running(url, seen.spec(), lease_seconds=0.6) as events:
        await refused(True)
        await events.publish(caller(), [event(1, key)])
        await eventually(lambda: failed(seen), bool)
        await database.write(CTX, join)
        await eventually(holder, lambda found: found == "")
        await refused(False)


async def failed(seen: Seen) -> bool:
    """Whether the first event's handling has failed."""
    return not seen.faults[1]


async def refused_again(caplog: pytest.LogCaptureFixture) -> None:
    """Return once a failure was refused twice more."""

    async def refusals() -> int:
        return sum("cannot keep a failure" in record.getMessage() for record in caplog.records)

    before = await refusals()
    await eventually(refusals, lambda found: found >= before + 2)
