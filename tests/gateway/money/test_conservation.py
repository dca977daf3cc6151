"""Money is conserved: what was settled is what the ledger holds, what invoices say, and what budgets count."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stanchion.core.clock import micros
from stanchion.core.errors import BudgetExceeded
from stanchion.core.storage.open import open_database, open_keyvalue
from stanchion.gateway.contract.calls import Usage
from stanchion.gateway.contract.money import BudgetSpec, Limit
from stanchion.gateway.money.amounts import PICO
from stanchion.gateway.money.service import MoneyService
from stanchion.gateway.money.windows import span
from stanchion.gateway.ports import Reserve
from stanchion.testing.clock import FakeClock

from .conftest import NOON, SCHEMA, Bench, caller

CENT = PICO // 100
LIMIT = 20 * CENT
BUDGETS = (
    BudgetSpec("all", limits=(Limit("day", cost="0.20"), Limit("minute", requests=20))),
    BudgetSpec("each", "key:*", limits=(Limit("hour", cost="0.10", tokens=50_000),), concurrency=5),
)
KEYS = ("key:a", "key:b", "user:c")

PROCESS = st.integers(0, 1)
STEP = st.one_of(
    st.tuples(st.just("reserve"), PROCESS, st.sampled_from(KEYS), st.integers(0, 4 * CENT), st.integers(0, 5_000)),
    st.tuples(st.just("settle"), st.integers(0, 9), st.integers(0, 3_000), st.integers(0, 1_000)),
    st.tuples(st.just("again"), st.integers(0, 9)),
    st.tuples(st.just("release"), st.integers(0, 9)),
    st.tuples(st.just("together"), PROCESS, st.integers(2, 8), st.integers(0, 4 * CENT)),
    st.tuples(st.just("tidy"), PROCESS),
    st.tuples(st.just("wait"), st.sampled_from([0.5, 3.0, 61.0, 3_600.0])),
    st.tuples(st.just("restart"), PROCESS),
    st.tuples(st.just("kill"), PROCESS),
)


@dataclass
class Call:
    """A call under way, and by which process."""

    process: MoneyService
    ctx: Any
    held: Reserve
    most: int


@dataclass
class Story:
    """Two processes on one store, and what a bystander wrote down of them."""

    bench: Bench
    shared: Literal["database", "keyvalue"]
    tenant: str = field(default_factory=lambda: secrets.token_hex(8))
    processes: list[MoneyService] = field(default_factory=list)
    dead: list[MoneyService] = field(default_factory=list)
    open: list[Call] = field(default_factory=list)
    done: list[tuple[Call, int]] = field(default_factory=list)
    costs: list[tuple[str, int]] = field(default_factory=list)
    overrun: int = 0
    lost: int = 0

    async def begin(self) -> None:
        for _ in range(2):
            self.processes.append(await self.bench.service(*BUDGETS, shared=self.shared, background=False))

    async def reserve(self, process: int, key: str, most: int, tokens: int) -> None:
        service, ctx = self.processes[process], caller(key, self.tenant, request_id=secrets.token_hex(12))
        try:
            held = await service.reserve(ctx, provider="local", model="big", tokens=tokens, most=most, tags={})
        except BudgetExceeded:
            return
        self.open.append(Call(service, ctx, held, most))

    async def together(self, process: int, calls: int, most: int) -> None:
        await asyncio.gather(*(self.reserve((process + i) % 2, KEYS[i % 3], most, 100) for i in range(calls)))

    async def settle(self, which: int, tokens_in: int, tokens_out: int) -> None:
        if self.open:
            call = self.open.pop(which % len(self.open))
            usage = Usage(tokens_in, tokens_out)
            price = call.process.prices.price("local", "big")
            assert price is not None
            cost = await call.process.settle(call.ctx, call.held, usage, price=price, outcome="ok")
            assert cost == tokens_in * 2_000_000 + tokens_out * 8_000_000
            self.costs.append((call.ctx.principal, cost))
            self.overrun += max(0, cost - call.most)
            self.done.append((call, cost))

    async def again(self, which: int) -> None:
        if self.done:
            call, cost = self.done[which % len(self.done)]
            if call.process not in self.dead:
                price = call.process.prices.price("local", "big")
                assert await call.process.settle(call.ctx, call.held, Usage(1, 1), price=price, outcome="ok") == cost

    async def release(self, which: int) -> None:
        if self.open:
            call = self.open.pop(which % len(self.open))
            await call.process.release(call.ctx, call.held)

    async def tidy(self, process: int) -> None:
        await self.processes[process].tidy()

    async def wait(self, seconds: float) -> None:
        self.bench.clock.advance(seconds)

    async def restart(self, process: int) -> None:
        leaving = self.processes[process]
        for call in [call for call in self.open if call.process is leaving]:
            self.open.remove(call)
            await leaving.release(call.ctx, call.held)
        await self.bench.end(leaving)
        self.processes[process] = await self.bench.service(*BUDGETS, shared=self.shared, background=False)

    async def kill(self, process: int) -> None:
        """The process is gone with all that it holds; its rows had reached the store."""
        gone = self.processes[process]
        await gone.usage(caller(tenant=self.tenant), start=NOON.date(), end=NOON.date() + timedelta(days=1))
        self.open = [call for call in self.open if call.process is not gone]
        self.bench.running.remove(gone)
        self.dead.append(gone)
        self.lost += 1
        self.processes[process] = await self.bench.service(*BUDGETS, shared=self.shared, background=False)

    async def check(self) -> None:
        for call in self.open:
            await call.process.release(call.ctx, call.held)
        for service in self.processes:
            await self.bench.end(service)
        reader = await self.bench.service(*BUDGETS, shared=self.shared, background=False)
        ctx, days = caller(tenant=self.tenant), {"start": NOON.date(), "end": NOON.date() + timedelta(days=2)}
        spent = sum(cost for _, cost in self.costs)
        pages = [p async for p in reader.export_usage(ctx, start=NOON, end=NOON + timedelta(days=2), rows=7)]
        rows = [row for page in pages for row in page.rows]
        assert sum(row.cost for row in rows) == spent
        assert len({row.id for row in rows}) == len(rows) == len(self.costs)
        assert (await reader.invoice(ctx, **days)).cost == spent
        for key in KEYS:
            invoice = await reader.invoice(ctx, key=key, **days)
            assert invoice.cost == sum(cost for principal, cost in self.costs if principal == key)
        assert sum(line.cost for line in await reader.usage(ctx, by=["model", "day", "team"], **days)) == spent
        await self.check_budgets(reader, ctx, spent)

    async def check_budgets(self, reader: MoneyService, ctx: Any, spent: int) -> None:
        today = span("day", micros(self.bench.clock.now())) == span("day", micros(NOON))
        if today:
            [used] = [e.used for e in (await reader.budget(ctx, "all")).levels if e.measure == "cost"]
            if self.lost:
                # What a killed process had taken stays used; what its calls cost beyond their reserves it had not told.
                assert spent - self.overrun <= used <= LIMIT + self.overrun
            else:
                assert used == spent
        assert spent <= LIMIT + self.overrun or not today


async def tell(story: Story, steps: list[tuple[Any, ...]]) -> None:
    await story.begin()
    for name, *given_ in steps:
        await getattr(story, name)(*given_)
    await story.check()


async def scenario(urls: Mapping[str, str], shared: Literal["database", "keyvalue"], steps: Any) -> None:
    clock = FakeClock(NOON)
    database, keyvalue = open_database(urls["sql"]), open_keyvalue(urls["keyvalue"], clock=clock)
    await database.prepare(SCHEMA)
    bench = Bench(database, keyvalue, clock)
    try:
        await tell(Story(bench, shared), steps)
    finally:
        for service in list(bench.running):
            await bench.end(service)
        await keyvalue.close()
        await database.close()


STEPS = st.lists(STEP, min_size=5, max_size=60)


@pytest.mark.parametrize("shared", ["database", "keyvalue"])
@settings(max_examples=40)
@given(steps=STEPS)
def test_money_is_conserved_in_one_process_and_in_several(shared: Any, steps: Any) -> None:
    asyncio.run(scenario({"sql": "memory:", "keyvalue": "memory:"}, shared, steps))


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=STEPS)
def test_money_is_conserved_on_postgresql(postgres_url: str, steps: Any) -> None:
    asyncio.run(scenario({"sql": postgres_url, "keyvalue": "memory:"}, "database", steps))


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=STEPS)
def test_money_is_conserved_on_redis(redis_url: str, redis_prefix: str, steps: Any) -> None:
    url = f"{redis_url}?prefix={redis_prefix}{secrets.token_hex(4)}:"
    asyncio.run(scenario({"sql": "memory:", "keyvalue": url}, "keyvalue", steps))
