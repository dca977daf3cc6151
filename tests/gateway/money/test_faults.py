"""A store that fails: no call is made unmetered, and none is charged twice or lost when the store comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection

from stanchion.core.context import Context
from stanchion.core.errors import Unavailable
from stanchion.core.storage import Database, Schema
from stanchion.gateway.contract.calls import Usage
from stanchion.gateway.contract.money import BudgetSpec, Limit

from .conftest import Bench

T = TypeVar("T")
CENT = 10**10
USED = Usage(100, 50)


class Failing(Database):
    """A database whose writes fail as often as it is told: before their commit, or after it."""

    def __init__(self, inner: Database) -> None:
        self._inner = inner
        self.dialect = inner.dialect
        self.before = 0
        self.after = 0

    async def prepare(self, schema: Schema) -> None:
        await self._inner.prepare(schema)

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await self._inner.read(work)

    async def write(self, ctx: Context, work: Callable[[Connection], T]) -> T:
        if self.before:
            self.before -= 1
            raise Unavailable("the database does not answer")
        result = await self._inner.write(ctx, work)
        if self.after:
            self.after -= 1
            raise Unavailable("whether the change is stored is unknown")
        return result

    async def close(self) -> None:
        await self._inner.close()


class Slow(Failing):
    """A database that keeps the answer to a write back, which it has stored, until it is told to go on."""

    def __init__(self, inner: Database) -> None:
        super().__init__(inner)
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def write(self, ctx: Context, work: Callable[[Connection], T]) -> T:
        result = await super().write(ctx, work)
        self.reached.set()
        await self.go_on.wait()
        return result


@pytest.fixture
def failing(bench: Bench) -> Failing:
    made = Failing(bench.database)
    bench.database = made
    return made


async def call(service: Any, ctx: Context, most: int = CENT, usage: Usage = USED) -> int:
    held = await service.reserve(ctx, provider="local", model="big", tokens=200, most=most, tags={})
    price = service.prices.price("local", "big")
    cost: int = await service.settle(ctx, held, usage, price=price, outcome="ok")
    return cost


async def test_without_an_allowance_and_a_store_no_call_is_made(bench: Bench, failing: Failing, ctx: Context) -> None:
    service = await bench.service(BudgetSpec("all", limits=(Limit("day", cost="1"),)), background=False)
    failing.before = 1
    with pytest.raises(Unavailable):
        await call(service, ctx)
    await call(service, ctx)
    failing.before = 5
    await call(service, ctx)  # the allowance is there
    failing.before = 0


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_row_whose_commit_failed_or_is_in_doubt_is_charged_once(
    bench: Bench, failing: Failing, ctx: Context, moment: str
) -> None:
    service = await bench.service(background=False)
    costs = [await call(service, ctx) for _ in range(60)]
    setattr(failing, moment, 2)
    invoice = await service.invoice(ctx)
    assert (invoice.requests, invoice.cost) == (60, sum(costs))


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_what_could_not_be_given_back_stays_counted(
    bench: Bench, failing: Failing, ctx: Context, moment: str
) -> None:
    service = await bench.service(BudgetSpec("all", limits=(Limit("day", cost="1"),)), background=False)
    cost = await call(service, ctx)
    bench.clock.advance(3)
    setattr(failing, moment, 1)
    with pytest.raises(Unavailable):
        await service.tidy()
    await service.tidy()
    [level] = (await service.budget(ctx, "all")).levels
    assert cost <= level.used <= 10 * CENT


async def test_a_debt_is_not_forgotten_while_the_store_is_away(bench: Bench, failing: Failing, ctx: Context) -> None:
    service = await bench.service(BudgetSpec("all", limits=(Limit("day", cost="1"),)), background=False)
    cost = await call(service, ctx, usage=Usage(10**6, 0))
    failing.before = 2
    for _ in range(2):
        with pytest.raises(Unavailable):
            await service.tidy()
    await service.tidy()
    assert (await service.budget(ctx, "all")).levels[0].used == cost == 2 * 10**12


async def test_what_a_lost_call_gives_back_in_doubt_is_not_given_back_again(
    bench: Bench, failing: Failing, ctx: Context
) -> None:
    budget = BudgetSpec("all", limits=(Limit("day", cost="1"),))
    service = await bench.service(budget, background=False, longest=100)
    held = await service.reserve(ctx, provider="local", model="big", tokens=200, most=90 * CENT, tags={})
    bench.clock.advance(101)
    await service.tidy()
    cost = await service.settle(ctx, held, USED, price=service.prices.price("local", "big"), outcome="ok")
    failing.after = 1
    with pytest.raises(Unavailable):
        await service.tidy()
    for _ in range(3):
        bench.clock.advance(3)
        await service.tidy()
    assert (await service.budget(ctx, "all")).levels[0].used == cost
    bench.running.remove(service)  # killed
    other = await bench.service(budget, background=False)
    assert (await other.budget(ctx, "all")).levels[0].used >= cost


async def test_a_stop_gives_back_what_was_just_being_taken(bench: Bench, ctx: Context) -> None:
    slow = bench.database = Slow(bench.database)
    budget = BudgetSpec("all", limits=(Limit("day", cost="1"),))
    service = await bench.service(budget, background=False)
    cost = await call(service, ctx, most=CENT)
    cost += await call(service, ctx, most=8 * CENT, usage=Usage(40_000, 0))
    slow.go_on.clear()
    slow.reached.clear()
    taking = asyncio.create_task(service.tidy())
    await slow.reached.wait()
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    slow.go_on.set()
    await bench.end(service)
    other = await bench.service(budget, background=False)
    assert (await other.budget(ctx, "all")).levels[0].used == cost


async def test_while_too_many_rows_wait_no_call_is_made(bench: Bench, failing: Failing, ctx: Context) -> None:
    service = await bench.service(background=False)
    service._ledger._capacity = 3
    for _ in range(3):
        await call(service, ctx)
    with pytest.raises(Unavailable, match="ledger"):
        await call(service, ctx)
    await service.usage(ctx)
    await call(service, ctx)
