"""The log of served vectors never holds up a prediction, loses the oldest under pressure, and forgets in time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from stanchion.core.context import Context
from stanchion.core.errors import Unavailable
from stanchion.core.storage import Database
from stanchion.core.storage.open import open_database
from stanchion.features import Logged
from stanchion.features.monitoring.log import VectorLog
from stanchion.features.monitoring.tables import SCHEMA
from stanchion.testing.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    made = open_database(f"sqlite:///{tmp_path}/log.db")
    await made.prepare(SCHEMA)
    yield made
    await made.close()


def vector(clock: FakeClock, name: str, *, age: float = 0) -> Logged:
    return Logged(
        name, {"customer": name}, {"amount": 1.5}, {"age": 3, "city": None}, clock.now() - timedelta(seconds=age)
    )


async def names(log: VectorLog, tenant: str = "t1", service: str = "fraud", limit: int = 100) -> list[str]:
    return [kept.logged.request_id for kept in await log.newest(tenant, service, limit)]


async def test_what_is_logged_is_kept_newest_first(database: Database, clock: FakeClock) -> None:
    log = VectorLog(database, clock, waiting=100, days=1)
    log.add("t1", "fraud", "f1", [vector(clock, "a", age=2), vector(clock, "b", age=1)])
    log.add("t2", "fraud", "f1", [vector(clock, "c")])
    log.add("t1", "other", "f1", [vector(clock, "d")])
    await log.flush()
    assert await names(log) == ["b", "a"]
    [kept] = await log.newest("t1", "fraud", 1)
    assert (kept.logged, kept.fingerprint) == (vector(clock, "b", age=1), "f1")


async def test_the_oldest_give_way_under_pressure(database: Database, clock: FakeClock) -> None:
    log = VectorLog(database, clock, waiting=3, days=1)
    for name in "abcde":
        log.add("t1", "fraud", "f", [vector(clock, name)])
    await log.flush()
    assert (sorted(await names(log)), log.dropped) == (["c", "d", "e"], 2)


async def test_a_vector_that_is_logged_twice_is_one_row(database: Database, clock: FakeClock) -> None:
    log = VectorLog(database, clock, waiting=9, days=1)
    for _ in range(2):
        log.add("t1", "fraud", "f", [vector(clock, "a")])
    await log.flush()
    assert await names(log) == ["a"]


async def test_what_is_too_old_is_forgotten(database: Database, clock: FakeClock) -> None:
    log = VectorLog(database, clock, waiting=9, days=1)
    log.add("t1", "fraud", "f", [vector(clock, "a"), vector(clock, "b", age=86_401)])
    await log.flush()
    assert await log.prune() == 1
    assert await names(log) == ["a"]


async def test_what_is_queued_is_stored_at_the_end(database: Database, clock: FakeClock) -> None:
    log = VectorLog(database, clock, waiting=9, days=1)
    await log.start()
    log.add("t1", "fraud", "f", [vector(clock, "a")])
    await log.stop()
    assert await names(log) == ["a"]


async def test_vectors_wait_while_the_database_is_down(database: Database, clock: FakeClock) -> None:
    class Down:
        up = False

        async def write(self, ctx: Context, work: object) -> object:
            if not self.up:
                raise Unavailable("no answer")
            return await database.write(ctx, work)  # type: ignore[arg-type]  # handed through

    broken = Down()
    log = VectorLog(broken, clock, waiting=9, days=1)  # type: ignore[arg-type]  # what the log needs of a database
    log.add("t1", "fraud", "f", [vector(clock, "a")])
    with pytest.raises(Unavailable):
        await log.flush()
    broken.up = True
    await log.flush()
    assert await names(VectorLog(database, clock, waiting=9, days=1)) == ["a"]
