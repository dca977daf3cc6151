"""Schedules, backfills and the end of history, on a clock that a test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context, Rights
from stanchion.core.errors import InvalidInput, Misconfigured, NotFound
from stanchion.core.storage import Database
from stanchion.core.storage.open import open_blobs, open_database
from stanchion.pipelines import ScheduleSpec
from stanchion.pipelines.backends.sql import SqlEngine
from stanchion.pipelines.backends.tables import SCHEMA
from stanchion.pipelines.keeping import Keeping
from stanchion.pipelines.scheduling import Schedules, moments
from stanchion.pipelines.starting import Starting
from stanchion.pipelines.values import Answers
from stanchion.testing.clock import FakeClock
from stanchion.testing.pipelines import Declared, pipeline_service

CTX = Context("acme", "user:ada", Rights(roles=frozenset({"developer"})))
START = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    found = open_database("memory:")
    await found.prepare(SCHEMA)
    yield found
    await found.close()


def nightly(*, catch_up: bool = False) -> Declared:
    app = Declared()

    @app.stage()
    def name(day: str) -> str:
        if day == "2026-03-03":
            raise ValueError("that day is broken")
        return day

    @app.pipeline("nightly")
    def nightly(day: str) -> str:
        return name(day)

    nightly.schedule(lambda at: at.date().isoformat(), cron="0 2 * * *", catch_up=catch_up)
    return app


def schedules(database: Database, app: Declared, clock: FakeClock) -> Schedules:
    """The schedules alone: nobody runs what they start."""
    specs = app.all()
    engine = SqlEngine(database, clock=clock)
    starting = Starting(engine, {spec.name: spec for spec in specs if hasattr(spec, "graph")}, clock, lambda: None)
    found = [spec for spec in specs if isinstance(spec, ScheduleSpec)]
    return Schedules(engine, starting, found, tenant="acme", clock=clock, poll=3_600.0)


@pytest.mark.parametrize(
    ("catch_up", "made"), [(False, ["2026-03-05"]), (True, [f"2026-03-0{n}" for n in range(1, 6)])]
)
async def test_of_missed_moments_the_latest_or_all_are_made_up_for_once(
    database: Database, catch_up: bool, made: list[str]
) -> None:
    clock = FakeClock(START)
    mine, theirs = (schedules(database, nightly(catch_up=catch_up), clock) for _ in range(2))
    await mine.start()
    assert await mine.fire() == 0
    clock.advance(4 * 86_400 + 3 * 3_600)
    assert await mine.fire() == len(made)
    assert await theirs.fire() == 0
    await mine.stop()
    service = await pipeline_service(database, open_blobs("memory:"), nightly(), clock=SystemClock(), work=False)
    runs = await service.list(CTX)
    assert sorted(run.partition[:10] for run in runs if run.partition) == made
    assert {(run.principal, run.schedule) for run in runs} == {("schedule:nightly", "nightly")}


async def test_a_paused_schedule_fires_no_more_and_goes_on_from_the_next_moment(database: Database) -> None:
    clock = FakeClock(START)
    found = schedules(database, nightly(), clock)
    await found.start()
    assert (await found.pause(CTX, "nightly", True)).paused
    clock.advance(3 * 86_400)
    assert await found.fire() == 0
    view = await found.pause(CTX, "nightly", False)
    assert view.next == START + timedelta(days=3, hours=2)
    assert await found.fire() == 0
    clock.advance(3 * 3_600)
    assert await found.fire() == 1
    with pytest.raises(NotFound):
        await found.pause(Context("other", "user:bob"), "nightly", True)
    await found.stop()


async def test_a_backfill_makes_each_partition_once_and_tells_which_failed(database: Database) -> None:
    service = await pipeline_service(database, open_blobs("memory:"), nightly(), clock=SystemClock(), poll=0.01)
    await service.start()
    run = await service.backfill(CTX, "nightly", START, START + timedelta(days=5), parallel=3)
    done = await service.wait(CTX, run.id, seconds=60)
    assert (done.status, done.error.code if done.error else "") == ("failed", "partitions_failed")
    assert done.error is not None
    assert "2026-03-03" in done.error.message
    progress = await service.progress(CTX, run.id)
    assert (progress.total, dict(progress.counts)) == (5, {"done": 4, "failed": 1})
    again = await service.backfill(CTX, "nightly", START, START + timedelta(days=2))
    assert (await service.wait(CTX, again.id, seconds=60)).status == "done"
    assert len(await service.list(CTX, pipeline="nightly")) == 5
    for start, end in ((START, START), (START.replace(tzinfo=None), START)):
        with pytest.raises(InvalidInput):
            await service.backfill(CTX, "nightly", start, end)
    await service.stop()


async def test_runs_that_ended_long_ago_are_forgotten_with_their_journals(database: Database) -> None:
    blobs = open_blobs("memory:")
    service = await pipeline_service(database, blobs, nightly(), clock=SystemClock(), poll=0.01, inline=1)
    await service.start()
    run = await service.begin(CTX, "nightly", "2026-03-01")
    await service.wait(CTX, run.id, seconds=60)
    await service.stop()
    assert [name async for name in blobs.list("pipelines/")]
    clock = FakeClock(SystemClock().now() + timedelta(days=29))
    keeping = Keeping(SqlEngine(database, clock=clock), Answers(blobs, inline=1), clock, days=30)
    assert await keeping.sweep() == 0
    clock.advance(2 * 86_400)
    assert await keeping.sweep() == 1
    assert [name async for name in blobs.list("pipelines/")] == []
    with pytest.raises(NotFound):
        await service.get(CTX, run.id)


@given(st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)), st.integers(1, 10_000_000))
def test_intervals_come_each_after_the_other_and_do_not_drift(after: datetime, seconds: int) -> None:
    spec = ScheduleSpec("s", "p", str, every=timedelta(seconds=seconds), since=START)
    found = moments(spec, after.replace(tzinfo=UTC))
    first, second = next(found), next(found)
    assert after.replace(tzinfo=UTC) < first
    assert second - first == timedelta(seconds=seconds)
    assert (first - START) % timedelta(seconds=seconds) == timedelta()
    assert first - max(after.replace(tzinfo=UTC), START) <= timedelta(seconds=seconds)


def test_a_cron_line_keeps_its_hour_through_a_change_of_the_clocks() -> None:
    spec = ScheduleSpec("s", "p", str, cron="30 12 * * *", zone="Europe/Berlin")
    found = moments(spec, datetime(2026, 3, 28, 12, tzinfo=UTC))
    assert [next(found).hour for _ in range(2)] == [10, 10]
    before = moments(spec, datetime(2026, 3, 27, 12, tzinfo=UTC))
    assert next(before).hour == 11
    with pytest.raises(Misconfigured):
        next(moments(ScheduleSpec("s", "p", str, cron="61 * * * *"), START))
