"""Pushed rows are forgotten in time, in pages, and never while a join of the kept days could need them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("duckdb", reason="the extra `features` is not installed")

import pyarrow
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from sqlalchemy import MetaData, inspect

from stanchion.core.clock import micros
from stanchion.core.context import Context
from stanchion.core.errors import InvalidInput
from stanchion.core.storage import Database, Schema
from stanchion.core.storage.open import open_database
from stanchion.features import ServiceSpec, SourceSpec, ViewSpec, count, total
from stanchion.features import retention as retaining
from stanchion.features.backends.duck import Duck
from stanchion.features.backends.log import SqlLog
from stanchion.features.backends.tables import SCHEMA
from stanchion.features.offline.relations import Relations
from stanchion.features.offline.service import Historical
from stanchion.features.offline.spine import Limits
from stanchion.features.ports import Logged
from stanchion.features.retention import Retention, kept
from stanchion.features.windows.plan import Plan
from stanchion.testing.clock import FakeClock
from stanchion.testing.offline_features import spine

START = datetime(2026, 3, 1, tzinfo=UTC)
CTX = Context("t1", "ada")
HOUR = timedelta(hours=1)
DAY = 24 * HOUR
NAME = "source:payments"


class Paid(BaseModel):
    card: str
    at: datetime
    id: int
    amount: float


class Spending(BaseModel):
    amount: float
    payments_3h: int
    spent_1h: float


def plan(ttl: timedelta = 2 * HOUR) -> Plan:
    source = SourceSpec("payments", Paid, "at", event="id")
    windows = {"payments_3h": count(hours=3), "spent_1h": total("amount", hours=1)}
    return Plan(ViewSpec("spending", Spending, "card", ttl, source, {}, windows))


@asynccontextmanager
async def opened(url: str = "memory:") -> AsyncIterator[SqlLog]:
    database = open_database(url)
    await database.prepare(SCHEMA)
    yield SqlLog(database)
    await database.close()


def historical(log: SqlLog, folder: Path) -> Historical:
    async def no_secret(name: str) -> str:
        raise AssertionError(name)

    return Historical(
        [ServiceSpec("cards", ["spending"])],
        {},
        relations=Relations([plan()], tenant="t1", resolve=no_secret, log=log),
        engine=Duck(folder=folder, home=folder, memory_mb=128, threads=1),
        limits=Limits(8, 10_000),
    )


def row(number: int, at: datetime, known: datetime, *, card: str = "a", amount: float = 1.0) -> Logged:
    values: Any = {"card": card, "at": at.isoformat(), "id": number, "amount": amount}
    return Logged(card, micros(at), micros(known), str(number), values)


async def held(log: SqlLog, tenant: str = "t1", name: str = NAME) -> list[int]:
    end = micros(START + 10_000 * DAY)
    return [each.at async for page in log.read(tenant, name, start=0, end=end) for each in page]


async def joined(made: Historical, moments: Sequence[datetime], **more: Any) -> list[dict[str, Any]]:
    content = spine(moments, card=["a"] * len(moments))
    pieces = [piece async for piece in made.historical(CTX, "cards", content, time="asked", **more)]
    rows: list[dict[str, Any]] = pyarrow.ipc.open_stream(b"".join(pieces)).read_all().to_pylist()
    return rows


def test_never_less_is_kept_than_the_largest_window_and_the_ttl() -> None:
    for ttl in (timedelta(minutes=1), HOUR, 30 * DAY):
        for days in (0.001, 1, 400):
            least = max(ttl + 3 * HOUR, timedelta(days=days) + 3 * HOUR, timedelta(days=days) + ttl)
            assert kept(plan(ttl), days) >= least // timedelta(microseconds=1)


moments = st.integers(0, 30 * 60).map(lambda minute: START + timedelta(minutes=minute))
delays = st.sampled_from([0, 0, 30, 200, 1_000]).map(lambda minute: timedelta(minutes=minute))


@settings(max_examples=25, deadline=None)
@given(
    told=st.lists(st.tuples(moments, delays, st.integers(0, 8), st.integers(1, 9)), max_size=25),
    asked=st.lists(st.integers(0, 6 * 60), min_size=1, max_size=6),
    status=st.booleans(),
    as_of=st.sampled_from(["known", "event"]),
)
def test_joins_within_the_kept_days_are_what_they_were(
    tmp_path_factory: pytest.TempPathFactory,
    told: Sequence[tuple[datetime, timedelta, int, int]],
    asked: Sequence[int],
    status: bool,
    as_of: str,
) -> None:
    """Late rows and corrections, forgotten in pages now and then while they come: beside a log that forgets nothing."""
    days, folder = 0.25, tmp_path_factory.mktemp("spill")

    async def work() -> None:
        async with opened() as log, opened() as whole:
            clock = FakeClock(START)
            retention = Retention([plan()], log, clock, days=days)
            for at, delay, number, amount in sorted(told, key=lambda each: each[0] + each[1]):
                clock.advance(max(0.0, (at + delay - clock.now()).total_seconds()))
                given_ = row(number, at, clock.now(), amount=float(amount))
                await log.append(CTX, NAME, [given_])
                await whole.append(CTX, NAME, [given_])
                if amount < 4:
                    await retention.prune()
            await retention.prune()
            now = clock.now()
            gone = set(await held(whole)) - set(await held(log))
            assert all(at < micros(now) - kept(plan(), days) for at in gone)
            past = [now - timedelta(minutes=minute) for minute in asked]
            more: Any = {"status": status, "as_of": as_of}
            right = await joined(historical(whole, folder), past, **more)
            assert await joined(historical(log, folder), past, **more) == right

    asyncio.run(work())


async def test_a_spine_that_needs_forgotten_rows_is_refused_by_row(tmp_path: Path) -> None:
    async with opened() as log:
        clock = FakeClock(START + 10 * DAY)
        await log.append(CTX, NAME, [row(n, START + n * HOUR, START + n * HOUR) for n in range(240)])
        made = historical(log, tmp_path)
        long_ago = START + 2 * HOUR
        assert (await joined(made, [long_ago]))[0]["payments_3h"] == 3
        assert await Retention([plan()], log, clock, days=1).prune() > 200
        horizon = await log.horizon("t1", NAME)
        assert horizon == micros(clock.now()) - kept(plan(), 1)
        with pytest.raises(InvalidInput, match="kept from 2026-03") as caught:
            await joined(made, [clock.now(), long_ago, clock.now() - DAY, long_ago])
        assert [each.path for each in caught.value.fields] == ["$.spine[1].asked", "$.spine[3].asked"]
        assert "pushed_days" in str(caught.value.problem()["next_step"])
        assert len(await joined(made, [clock.now() - DAY])) == 1


async def test_nothing_is_forgotten_where_no_days_are_set_nor_of_what_is_not_declared(tmp_path: Path) -> None:
    async with opened() as log:
        clock = FakeClock(START + 1_000 * DAY)
        await log.append(CTX, NAME, [row(1, START, START)])
        await log.append(CTX, "view:gone", [row(1, START, START)])
        forever = Retention([plan()], log, clock, days=0)
        await forever.start()
        assert await forever.prune() == 0
        await forever.stop()
        assert await Retention([plan()], log, clock, days=1).prune() == 1
        assert (await held(log), len(await held(log, name="view:gone"))) == ([], 1)
        assert await log.horizon("t1", "view:gone") is None


async def _pages_over_tenants(log: SqlLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retaining, "_PAGE", 7)
    clock = FakeClock(START + 10 * DAY)
    for tenant in ("t1", "t2", "t3"):
        ctx = Context(tenant, "ada")
        await log.append(ctx, NAME, [row(n, START + n * HOUR, START) for n in range(240)])
        await log.append(ctx, "view:other", [row(1, START, START)])
    assert await log.holds() == [(t, n) for t in ("t1", "t2", "t3") for n in (NAME, "view:other")]
    retention = Retention([plan()], log, clock, days=1)
    before = micros(clock.now()) - kept(plan(), 1)
    due = sum(micros(START + n * HOUR) < before for n in range(240))
    assert await log.prune("t1", NAME, before=before, most=7) == 7
    assert await log.horizon("t1", NAME) == before
    assert min(await held(log)) == micros(START + 7 * HOUR), "the earliest go first"
    assert await retention.prune() == 3 * due - 7
    for tenant in ("t1", "t2", "t3"):
        assert min(await held(log, tenant)) >= before
        assert len(await held(log, tenant)) == 240 - due
    assert await log.prune("t1", NAME, before=before - 1, most=7) == 0
    assert await log.horizon("t1", NAME) == before


async def test_rows_go_in_pages_for_every_tenant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(f"sqlite:///{tmp_path}/log.db") as log:
        await _pages_over_tenants(log, monkeypatch)


async def test_rows_go_in_pages_on_postgresql(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(postgres_url) as log:
        await _pages_over_tenants(log, monkeypatch)


async def test_it_happens_in_the_background_and_ends_in_order(tmp_path: Path) -> None:
    async with opened() as log:
        await log.append(CTX, NAME, [row(1, START, START)])
        retention = Retention([plan()], log, FakeClock(START + 10 * DAY), days=1)
        await retention.start()
        async with asyncio.timeout(60):
            while await held(log):
                await asyncio.sleep(0.01)
            await retention.stop()


async def _brought_up_to_date(database: Database) -> None:
    former = MetaData()
    for table in SCHEMA.metadata.sorted_tables:
        if table.name != "features_horizons":
            table.to_metadata(former)
    await database.prepare(Schema("features", former))
    await database.prepare(SCHEMA)
    fresh = {column.name for column in SCHEMA.metadata.tables["features_horizons"].columns}
    found = await database.read(lambda connection: inspect(connection).get_columns("features_horizons"))
    assert {column["name"] for column in found} == fresh
    keys = await database.read(lambda connection: inspect(connection).get_pk_constraint("features_horizons"))
    assert keys["constrained_columns"] == ["tenant", "name"]
    log = SqlLog(database)
    await log.append(CTX, NAME, [row(1, START, START)])
    assert await log.prune("t1", NAME, before=micros(START) + 1, most=10) == 1


async def test_tables_of_the_version_before_are_brought_up_to_date(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/log.db")
    await _brought_up_to_date(database)
    await database.close()


async def test_tables_on_postgresql_are_brought_up_to_date(postgres_url: str) -> None:
    database = open_database(postgres_url)
    await _brought_up_to_date(database)
    await database.close()
