"""What was handled is noted for ever, or for as long as the settings say."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from stanchion.core.clock import SystemClock
from stanchion.core.context import system_context
from stanchion.core.storage.open import open_database
from stanchion.events.backends.memory import MemoryBus
from stanchion.events.backends.tables import SCHEMA
from stanchion.events.housekeeping import Housekeeping
from stanchion.testing.event_contract import Seen, event, eventually
from stanchion.testing.events import caller, running, sqlite_url

CTX = system_context("*", task="test")


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(request.getfixturevalue("postgres_url")) if request.param == "postgres" else sqlite_url(tmp_path)


async def test_notes_are_removed_when_they_are_as_old_as_the_settings_say(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stanchion.events.housekeeping.NOTES_AT_ONCE", 2)
    seen, told = Seen(), [event(number, f"k{number}") for number in range(7)]
    database = open_database(url)
    async with running(url, seen.spec(), handled_days=1) as events:
        await events.publish(caller(), told)
        await seen.until(7)
        await eventually(lambda: events.consumers(caller()), lambda found: not found[0].behind)

        async def noted() -> int:
            return int(await database.read(lambda c: c.execute(text("SELECT count(*) FROM events_handled")).scalar()))

        await eventually(noted, lambda number: number == 7)
        for number, age in ((1, 90_000_000_000), (2, 90_000_000_000), (3, 80_000_000_000)):
            values = {"age": age, "id": told[number].id}
            update = text("UPDATE events_handled SET at = at - :age WHERE id = :id")
            await database.write(CTX, lambda c, u=update, v=values: c.execute(u, v).rowcount)
        clear = text("UPDATE events_handled SET at = NULL WHERE id = :id")
        await database.write(CTX, lambda c: c.execute(clear, {"id": told[4].id}).rowcount)

        async def nothing() -> None:
            return None

        clock = SystemClock()
        housekeeping = Housekeeping(
            database, MemoryBus(clock), clock,
            keep=timedelta(days=1), remember=timedelta(days=1), released=lambda: None, each_second=nothing,
        )  # fmt: skip
        await housekeeping.forget()
        assert await noted() == 5
        await events.publish(caller(), told)
        await seen.until(9)
    assert sorted(number for _, number in seen.events[7:]) == [1, 2]
    await database.close()


async def test_tables_of_before_the_time_was_kept_are_brought_up_to_date(url: str) -> None:
    database = open_database(url)
    await database.prepare(SCHEMA)
    await database.write(CTX, lambda c: c.execute(text("ALTER TABLE events_handled DROP COLUMN at")).rowcount)
    back = text("UPDATE stanchion_schema SET version = 1 WHERE module = 'events'")
    await database.write(CTX, lambda c: c.execute(back).rowcount)
    await database.close()
    seen = Seen()
    async with running(url, seen.spec()) as events:
        await events.publish(caller(), [event(1)])
        await seen.until(1)
