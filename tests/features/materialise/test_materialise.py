"""Materialisation: what it stores, what it says, and that one run at a time has a view."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stanchion.core.errors import Conflict, InvalidInput, NotFound, Unavailable
from stanchion.core.storage import Journal
from stanchion.features import Table
from stanchion.testing.clock import FakeClock
from tests.features.materialise.running import CTX, HOUR, NOW, payments, running, view, write


def at(hours: float) -> datetime:
    return NOW - timedelta(hours=hours)


def payment(card: str, hours: float, amount: float, *, known: float | None = None, number: str = "") -> dict[str, Any]:
    moment = at(hours)
    known_at = moment if known is None else at(known)
    return {"card": card, "at": moment, "known": known_at, "id": number or f"{card}{hours}", "amount": amount}


class Kept(Journal):
    """Keeps what the audit log would."""

    def __init__(self) -> None:
        self.facts: list[dict[str, Any]] = []

    def record(self, connection: Any, effects: Any) -> None:
        self.facts += [dict(effect.facts) for effect in effects]

    def committed(self) -> None:
        pass


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


async def test_each_partition_is_told_and_is_one_audit_event(tmp_path: Path, clock: FakeClock) -> None:
    write(tmp_path, [payment("c1", 10, 1.0), payment("c1", 1, 2.0), payment("c2", 1, 4.0)])
    kept = Kept()
    async with running(tmp_path, clock, journal=kept) as made:
        told = await made.run()
        found = await made.read()
    assert [(event.rows, event.done, event.total) for event in told] == [(1, 1, 4), (0, 2, 4), (2, 3, 4), (0, 4, 4)]
    assert [facts["rows"] for facts in kept.facts] == [1, 0, 2, 0]
    assert {facts["view"] for facts in kept.facts} == {"spending"}
    assert found["c1"].values == {"amount": 2.0, "count_1d": 2, "sum_2d": 3.0, "most_2d": 2.0}
    assert found["c3"].status == "unknown"


async def test_doing_it_twice_changes_nothing(tmp_path: Path, clock: FakeClock) -> None:
    write(tmp_path, payments(300))
    async with running(tmp_path, clock) as made:
        await made.run()
        before = {key: await made.keyvalue.get([key]) async for key in made.keyvalue.scan("features/")}
        await made.run(start=at(100))
        after = {key: await made.keyvalue.get([key]) async for key in made.keyvalue.scan("features/")}
    assert before == after
    assert before


async def test_the_next_run_reads_what_is_new_and_what_became_known_late(tmp_path: Path, clock: FakeClock) -> None:
    write(tmp_path, [payment("c1", 10, 1.0)])
    async with running(tmp_path, clock) as made:
        await made.run()
        clock.advance(3600)
        late = payment("c1", 9, 2.0, known=-0.5)
        correction = payment("c1", 10, 8.0, known=-0.5)
        write(tmp_path, [payment("c1", -0.9, 4.0), late, correction], "more")
        told = await made.run()
        found = await made.read(NOW + HOUR)
    assert told[0].rows == 2
    assert sum(event.rows for event in told) == 3
    assert found["c1"].values == {"amount": 4.0, "count_1d": 3, "sum_2d": 14.0, "most_2d": 8.0}


async def test_a_backfill_stores_a_stretch_again(tmp_path: Path, clock: FakeClock) -> None:
    write(tmp_path, [payment("c1", 10, 1.0)])
    async with running(tmp_path, clock, spec=view(tmp_path, known=None)) as made:
        await made.run()
        write(tmp_path, [payment("c1", 9, 2.0)], "late")
        assert sum(event.rows for event in await made.run()) == 0, "nothing says that the row is new"
        assert sum(event.rows for event in await made.run(start=at(12), end=at(8))) == 2
        found = await made.read()
    assert found["c1"].values["sum_2d"] == 3.0


async def test_only_one_run_has_a_view_and_a_dead_ones_lease_runs_out(tmp_path: Path, clock: FakeClock) -> None:
    write(tmp_path, payments(50))
    async with running(tmp_path, clock) as made:
        await made.jobs.take(CTX, "spending", "dead", 0, made.materialise._now() + 60_000_000)
        with pytest.raises(Conflict, match="another run") as caught:
            await made.run()
        assert caught.value.retry_after == 60
        clock.advance(61)
        assert len(await made.run()) > 1
        with pytest.raises(Conflict, match="taken over"):
            await made.jobs.keep(CTX, "spending", "dead", 0)


async def test_a_run_that_is_left_gives_the_view_up_at_once(tmp_path: Path, clock: FakeClock) -> None:
    write(tmp_path, payments(50))
    async with running(tmp_path, clock) as made:
        events = made.materialise.materialise(CTX, "spending")
        first = await anext(events)
        await events.aclose()
        told = await made.run()
    assert told[0].total == first.total - 1, "what was done is not done again"


async def test_an_unfinished_backfill_is_resumed_and_says_what_was_done(tmp_path: Path, clock: FakeClock) -> None:
    write(tmp_path, payments(50))
    stretch = {"start": at(20), "end": at(1)}
    async with running(tmp_path, clock) as made:
        events = made.materialise.materialise(CTX, "spending", **stretch)
        await anext(events)
        await anext(events)
        await events.aclose()
        told = await made.run(**stretch)
        again = await made.run(**stretch)
    assert [event.skipped for event in told] == [True, True, *[False] * (len(told) - 2)]
    assert not any(event.skipped for event in again), "a finished one is done anew"


async def test_a_view_whose_definition_changed_starts_anew(tmp_path: Path, clock: FakeClock) -> None:
    write(tmp_path, [payment("c1", 10, 1.0)])
    async with running(tmp_path, clock) as made:
        await made.run()
    spec = replace(view(tmp_path), ttl=timedelta(days=9))
    async with running(tmp_path, clock, spec=spec) as made:
        assert sum(event.rows for event in await made.run()) == 1


async def test_rows_of_the_future_wait_until_their_time(tmp_path: Path, clock: FakeClock) -> None:
    write(tmp_path, [payment("c1", 10, 1.0), payment("c1", -2, 2.0, known=10)])
    async with running(tmp_path, clock) as made:
        await made.run()
        assert (await made.read())["c1"].values["sum_2d"] == 1.0
        clock.advance(3 * 3600)
        await made.run()
        assert (await made.read(NOW + 3 * HOUR))["c1"].values["sum_2d"] == 3.0


@pytest.mark.parametrize("kind", ["csv", "delta", "sql"])
async def test_other_tables_are_read_alike(tmp_path: Path, clock: FakeClock, kind: str) -> None:
    import pyarrow
    import pyarrow.csv

    rows = payments(200)
    table = pyarrow.Table.from_pylist(rows)
    if kind == "csv":
        pyarrow.csv.write_csv(table, tmp_path / "payments.csv")
        place = Table("csv", "payments.csv")
    elif kind == "delta":
        deltalake = pytest.importorskip("deltalake")
        deltalake.write_deltalake(str(tmp_path / "lake"), table)
        deltalake.write_deltalake(str(tmp_path / "lake"), table.slice(0, 0), mode="overwrite")
        place = Table("delta", "lake", version=0)
    else:
        _sqlite(tmp_path / "sales.db", rows)
        place = Table("sql", "SELECT * FROM payments", connection="sales")
    write(tmp_path, rows)
    (tmp_path / "other").mkdir()
    async with running(tmp_path, clock, stores="memory") as made:
        await made.run()
        right = await made.read()
    async with running(tmp_path, clock, spec=view(tmp_path, place=place), stores="memory") as made:
        await made.run()
        assert await made.read() == right


def _sqlite(path: Path, rows: list[dict[str, Any]]) -> None:
    import sqlite3

    with sqlite3.connect(path) as link:
        link.execute("CREATE TABLE payments (card TEXT, at TEXT, known TEXT, id TEXT, amount REAL)")
        given = [(r["card"], r["at"].isoformat(), r["known"].isoformat(), r["id"], r["amount"]) for r in rows]
        link.executemany("INSERT INTO payments VALUES (?, ?, ?, ?, ?)", given)


async def test_a_table_that_is_not_as_declared_is_refused(tmp_path: Path, clock: FakeClock) -> None:
    write(tmp_path, [{**payment("c1", 1, 1.0), "amount": "much"}])
    async with running(tmp_path, clock) as made:
        with pytest.raises(InvalidInput, match="'amount' of the source payments is VARCHAR, declared as float"):
            await made.run()


async def test_a_table_that_is_not_there_is_unavailable(tmp_path: Path, clock: FakeClock) -> None:
    async with running(tmp_path, clock) as made:
        with pytest.raises(Unavailable):
            await made.run()


async def test_a_table_is_its_own_tenants_alone(tmp_path: Path, clock: FakeClock) -> None:
    write(tmp_path, payments(10))
    async with running(tmp_path, clock) as made:
        with pytest.raises(NotFound):
            async for _ in made.materialise.materialise(replace(CTX, tenant="t2"), "spending"):
                raise AssertionError


async def test_a_stretch_must_be_one(tmp_path: Path, clock: FakeClock) -> None:
    async with running(tmp_path, clock) as made:
        for start, end in ((NOW + HOUR, None), (at(1), at(2)), (NOW.replace(tzinfo=None), None)):
            with pytest.raises(InvalidInput):
                await made.run(start=start, end=end)


async def test_a_run_that_takes_long_keeps_its_lease(tmp_path: Path, clock: FakeClock) -> None:
    write(tmp_path, payments(10))
    async with running(tmp_path, clock) as made:
        made.materialise._lease = 30_000  # it is renewed each hundredth of a second
        renewed, keep = asyncio.Event(), made.jobs.keep

        async def told(*args: Any) -> None:
            await keep(*args)
            renewed.set()

        events = made.materialise.materialise(CTX, "spending")
        await anext(events)
        clock.advance(3600)
        made.jobs.keep = told
        await renewed.wait()
        with pytest.raises(Conflict):
            await made.jobs.take(CTX, "spending", "other", made.materialise._now(), made.materialise._now())
        await events.aclose()
