from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, func, select

from stanchion.core.context import Context
from stanchion.core.errors import Unavailable
from stanchion.core.storage import Database, Dialect, Schema
from stanchion.core.storage.open import open_database
from stanchion.core.telemetry.contract import LedgerRow
from stanchion.core.telemetry.histogram import bucket_of
from stanchion.core.telemetry.ledger import Ledger
from stanchion.core.telemetry.rollup import Rollup
from stanchion.core.telemetry.tables import TELEMETRY_SCHEMA, ledger, ledger_minutes

T = TypeVar("T")
Row = Callable[..., LedgerRow]
both = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)


class Faulty(Database):
    """A database whose writes fail as told; `after` fails once the commit has happened."""

    def __init__(self, inner: Database) -> None:
        self.inner = inner
        self.dialect: Dialect = inner.dialect
        self.before = 0
        self.after = 0

    async def prepare(self, schema: Schema) -> None:
        await self.inner.prepare(schema)

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await self.inner.read(work)

    async def write(self, ctx: Context, work: Callable[[Connection], T]) -> T:
        if self.before > 0:
            self.before -= 1
            raise Unavailable("down")
        answer = await self.inner.write(ctx, work)
        if self.after > 0:
            self.after -= 1
            raise Unavailable("the connection broke during COMMIT")
        return answer

    async def close(self) -> None:
        await self.inner.close()


async def stored(database: Database) -> list[str]:
    query = select(ledger.c.request_id).order_by(ledger.c.id)
    return list(await database.read(lambda c: c.execute(query).scalars().all()))


async def counted(database: Database) -> int:
    query = select(func.coalesce(func.sum(ledger_minutes.c.requests), 0))
    return int(await database.read(lambda c: c.execute(query).scalar_one()))


@both
async def test_every_row_is_stored_once_and_in_order(database: Database, row: Row) -> None:
    book = Ledger(database, linger=0.001)
    await book.start()
    written = []

    async def caller() -> None:
        for _ in range(400):
            one = row()
            written.append(one.request_id)
            book.write(one)
            await asyncio.sleep(0)

    await asyncio.gather(*(caller() for _ in range(8)))
    await book.stop()
    assert await stored(database) == written
    assert await counted(database) == 3_200
    assert book.backlog == 0


async def test_a_row_reaches_the_store_without_being_asked_for(database: Database, row: Row) -> None:
    book = Ledger(database, linger=0.001)
    await book.start()
    for _ in range(3):
        book.write(row())
        while book.backlog:  # nothing else tells when
            await asyncio.sleep(0)
    assert len(await stored(database)) == 3
    await book.stop()


async def test_stop_stores_what_waits_even_if_the_ledger_never_started(database: Database, row: Row) -> None:
    book = Ledger(database)
    for _ in range(2_500):
        book.write(row())
    await book.stop()
    assert len(await stored(database)) == 2_500


async def test_stop_may_come_while_the_last_rows_are_being_stored(database: Database, row: Row) -> None:
    book = Ledger(database, linger=0.0)
    await book.start()
    for _ in range(500):
        book.write(row())
    await asyncio.sleep(0)
    await asyncio.gather(book.flush(), book.flush(), book.stop())
    assert len(await stored(database)) == 500


async def test_a_failed_flush_keeps_rows_and_order(database: Database, row: Row) -> None:
    faulty = Faulty(database)
    faulty.before = 3
    book = Ledger(faulty, linger=0.0)
    await book.start()
    rows = [row() for _ in range(1_200)]
    for one in rows:
        book.write(one)
    await book.flush()
    assert await stored(database) == [one.request_id for one in rows]
    await book.stop()


@both
async def test_a_flush_whose_commit_seemed_to_fail_is_not_stored_twice(database: Database, row: Row) -> None:
    faulty = Faulty(database)
    faulty.after = 1
    book = Ledger(faulty)
    for _ in range(10):
        book.write(row())
    await book.flush()
    assert len(await stored(database)) == 10
    assert await counted(database) == 10


@both
async def test_a_row_that_no_store_takes_does_not_hold_up_the_rest(database: Database, row: Row) -> None:
    book = Ledger(database)
    book.write(row(route="GET /\0", subject="\ud800", tokens_in=2**80, cost=float("nan")))
    book.write(row())
    await book.flush()
    assert len(await stored(database)) == 2


async def test_a_full_ledger_says_so_and_still_takes_what_is_under_way(database: Database, row: Row) -> None:
    book = Ledger(database, capacity=3)
    for _ in range(2):
        book.write(row())
    assert not book.full
    for _ in range(2):
        book.write(row())
    assert book.full
    await book.flush()
    assert not book.full
    assert len(await stored(database)) == 4


async def test_stop_tells_of_rows_it_could_not_store(database: Database, row: Row) -> None:
    faulty = Faulty(database)
    faulty.before = 10**9
    book = Ledger(faulty, grace=0.0)
    await book.start()
    book.write(row())
    with pytest.raises(Unavailable, match="1 records of system:ledger"):
        await book.stop()


async def test_a_cancelled_flush_loses_nothing(database: Database, row: Row) -> None:
    faulty = Faulty(database)
    faulty.before = 2
    book = Ledger(faulty)
    book.write(row())
    waiting = asyncio.create_task(book.flush())
    while faulty.before == 2:  # nothing else tells when
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await book.stop()
    assert len(await stored(database)) == 1


@both
async def test_pruning_removes_old_rows_and_minutes_only(database: Database, row: Row, clock: Any) -> None:
    book = Ledger(database)
    now = clock.now()
    for _ in range(30):
        book.write(row(at=now - timedelta(days=3)))
    for _ in range(20):
        book.write(row(at=now))
    await book.flush()
    assert await book.prune(now - timedelta(days=1)) == 30
    assert len(await stored(database)) == 20
    assert await counted(database) == 20


names = st.sampled_from(["", "a", "b"])
rows = st.lists(
    st.builds(
        LedgerRow,
        at=st.datetimes(min_value=datetime(2026, 1, 1), max_value=datetime(2026, 1, 1, 0, 3), timezones=st.just(UTC)),
        request_id=st.just("r"),
        trace_id=st.just("t"),
        tenant=st.sampled_from(["t1", "t2"]),
        principal=st.just("p"),
        route=names,
        outcome=st.sampled_from(["ok", "not_found"]),
        latency_ms=st.floats(0, 200_000),
        subject=names,
        version=names,
        rung=names,
        items=st.integers(0, 1_000),
        tokens_in=st.integers(0, 1_000),
        tokens_out=st.integers(0, 1_000),
        cost=st.floats(0, 10),
    ),
    max_size=60,
)


@settings(max_examples=40, deadline=None)
@given(rows, st.integers(1, 20))
def test_the_stored_rollup_equals_a_count_over_the_rows(found: list[LedgerRow], size: int) -> None:
    """Whatever the batches were: the minutes of several flushes add up in the table."""
    asyncio.run(_compare(found, size))


async def _compare(found: list[LedgerRow], size: int) -> None:
    database = open_database("memory:")
    await database.prepare(TELEMETRY_SCHEMA)
    book = Ledger(database)
    for start in range(0, len(found), size):
        for one in found[start : start + size]:
            book.write(one)
        await book.flush()
    minutes = await database.read(lambda c: c.execute(select(ledger_minutes)).mappings().all())
    await database.close()
    expected: dict[tuple[Any, ...], list[LedgerRow]] = defaultdict(list)
    for r in found:
        minute = int(r.at.timestamp()) // 60
        expected[r.tenant, minute, r.route, r.subject, r.version, r.rung, r.outcome].append(r)
    assert len(minutes) == len(expected)
    for m in minutes:
        group = expected[m["tenant"], m["minute"], m["route"], m["subject"], m["version"], m["rung"], m["outcome"]]
        assert m["requests"] == len(group)
        assert m["items"] == sum(r.items for r in group)
        assert m["tokens_in"] == sum(r.tokens_in for r in group)
        assert m["tokens_out"] == sum(r.tokens_out for r in group)
        assert m["cost"] == pytest.approx(sum(r.cost for r in group))
        for bucket in range(41):
            assert m[f"b{bucket}"] == sum(bucket_of(r.latency_ms) == bucket for r in group)


def test_made_up_names_cannot_grow_the_rollup_without_bound(row: Row) -> None:
    rollup = Rollup(series=10)
    sums = rollup.sums(row(subject=f"made-up-{i}") for i in range(1_000))
    assert len(sums) == 11
    assert sum(int(str(one[7])) for one in sums) == 1_000
    other = rollup.sums([row(tenant="globex", subject="honest")])
    assert "honest" in other[0]


def test_the_bound_on_names_starts_anew_each_hour(row: Row, clock: Any) -> None:
    rollup = Rollup(series=1)
    rollup.sums([row(subject="first")])
    later = clock.now() + timedelta(hours=1)
    assert "second" in rollup.sums([row(subject="second", at=later)])[0]
