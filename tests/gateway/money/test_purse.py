"""Calls are held to every budget that covers them, whatever they do at the same moment."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from stanchion.core.context import Context
from stanchion.core.errors import BudgetExceeded, InvalidInput
from stanchion.gateway.contract.calls import Usage
from stanchion.gateway.contract.money import BudgetSpec, Level, Limit
from stanchion.gateway.money.amounts import PICO
from stanchion.gateway.money.service import MoneyService
from stanchion.gateway.ports import Reserve

from .conftest import NOON, Bench, caller

CENT = PICO // 100
ENGINES = ["database", "keyvalue"]


async def reserve(
    service: MoneyService, ctx: Context, most: int = CENT, tokens: int = 100, tags: Any = None, **more: Any
) -> Reserve:
    return await service.reserve(ctx, provider="local", model="big", tokens=tokens, most=most, tags=tags or {}, **more)


async def settle(service: MoneyService, ctx: Context, held: Reserve, usage: Usage) -> int:
    return await service.settle(ctx, held, usage, price=service.prices.price("local", "big"), outcome="ok")


async def level(service: MoneyService, ctx: Context, name: str, measure: str = "cost") -> Level:
    [found] = [each for each in (await service.budget(ctx, name)).levels if each.measure == measure]
    return found


@pytest.mark.parametrize("shared", ENGINES)
async def test_a_hundred_calls_at_the_last_cent_do_not_overspend(bench: Bench, ctx: Context, shared: str) -> None:
    service = await bench.service(BudgetSpec("all", limits=(Limit("day", cost="0.01"),)), shared=shared)
    answers = await asyncio.gather(
        *(reserve(service, caller(request_id=f"r{i}"), most=CENT * 3 // 10) for i in range(100)), return_exceptions=True
    )
    held = [each for each in answers if not isinstance(each, BaseException)]
    assert len(held) == 3
    assert all(isinstance(each, BudgetExceeded) for each in answers if isinstance(each, BaseException))
    for each in held:
        await settle(service, ctx, each, Usage(100, 100))
    assert (await level(service, ctx, "all")).used == 3 * 1_000_000_000


@pytest.mark.parametrize("shared", ENGINES)
async def test_several_processes_at_the_last_cent_do_not_overspend(bench: Bench, ctx: Context, shared: str) -> None:
    budget = BudgetSpec("all", limits=(Limit("day", cost="1"),))
    services = [await bench.service(budget, shared=shared) for _ in range(4)]
    answers = await asyncio.gather(
        *(reserve(services[i % 4], ctx, most=CENT) for i in range(200)), return_exceptions=True
    )
    held = [each for each in answers if not isinstance(each, BaseException)]
    assert 60 <= len(held) <= 100


@pytest.mark.parametrize("shared", ENGINES)
async def test_what_one_process_gives_back_another_can_use(bench: Bench, ctx: Context, shared: str) -> None:
    budget = BudgetSpec("all", limits=(Limit("day", cost="0.01", requests=3),), concurrency=2)
    one, two = await bench.service(budget, shared=shared), await bench.service(budget, shared=shared)
    held = await reserve(one, ctx, most=CENT)
    with pytest.raises(BudgetExceeded):
        await reserve(two, ctx, most=CENT)
    await one.release(ctx, held)
    bench.clock.advance(3)
    await one.tidy()
    assert await reserve(two, ctx, most=CENT)


async def test_a_call_is_held_to_all_budgets_or_takes_nothing(bench: Bench, ctx: Context) -> None:
    service = await bench.service(
        BudgetSpec("wide", limits=(Limit("day", cost="1"),)),
        BudgetSpec("narrow", "key:ada", limits=(Limit("hour", cost="0.01"),)),
    )
    with pytest.raises(BudgetExceeded, match="narrow"):
        await reserve(service, ctx, most=2 * CENT)
    wide = await level(service, ctx, "wide")
    assert (wide.used, wide.reserved) == (0, 0)
    assert await reserve(service, caller("key:bob"), most=2 * CENT)


async def test_a_settled_call_counts_what_it_used(bench: Bench, ctx: Context) -> None:
    service = await bench.service(BudgetSpec("all", limits=(Limit("month", cost="1", tokens=1000, requests=10),)))
    held = await reserve(service, ctx, most=CENT, tokens=500)
    assert (await level(service, ctx, "all")).reserved == CENT
    cost = await settle(service, ctx, held, Usage(100, 50))
    assert cost == 100 * 2_000_000 + 50 * 8_000_000
    money, tokens, requests = (await service.budget(ctx, "all")).levels
    assert (money.used, money.reserved, tokens.used, requests.used) == (cost, 0, 150, 1)


async def test_a_released_call_counts_nothing(bench: Bench, ctx: Context) -> None:
    service = await bench.service(BudgetSpec("all", limits=(Limit("day", cost="1", requests=1),)))
    for _ in range(3):
        await service.release(ctx, await reserve(service, ctx))
    assert [(each.used, each.reserved) for each in (await service.budget(ctx, "all")).levels] == [(0, 0), (0, 0)]


async def test_settling_again_counts_once(bench: Bench, ctx: Context) -> None:
    service = await bench.service(BudgetSpec("all", limits=(Limit("day", cost="1"),)))
    held = await reserve(service, ctx)
    costs = [await settle(service, ctx, held, Usage(100, 50)) for _ in range(3)]
    await service.release(ctx, held)
    assert len(set(costs)) == 1
    assert (await level(service, ctx, "all")).used == costs[0]
    assert (await service.invoice(ctx, start=NOON.date(), end=NOON.date() + timedelta(days=1))).cost == costs[0]


async def test_a_call_that_costs_more_than_its_reserve_is_paid_in_full(bench: Bench, ctx: Context) -> None:
    service = await bench.service(BudgetSpec("all", limits=(Limit("day", cost="0.01"),)))
    cost = await settle(service, ctx, await reserve(service, ctx, most=CENT // 2), Usage(100_000, 0))
    await service.tidy()
    assert cost == 20 * CENT
    assert (await level(service, ctx, "all")).used == cost
    with pytest.raises(BudgetExceeded):
        await reserve(service, ctx, most=1)
    assert await reserve(service, ctx, most=0), "what costs nothing is not held up"


async def test_what_was_used_survives_a_restart(bench: Bench, ctx: Context) -> None:
    budget = BudgetSpec("all", limits=(Limit("day", cost="0.01"),))
    service = await bench.service(budget)
    cost = await settle(service, ctx, await reserve(service, ctx, most=CENT), Usage(100, 50))
    await bench.end(service)
    again = await bench.service(budget)
    assert (await level(again, ctx, "all")).used == cost
    with pytest.raises(BudgetExceeded):
        await reserve(again, ctx, most=CENT)
    assert await reserve(again, ctx, most=CENT - cost)


@pytest.mark.parametrize(
    ("window", "seconds"), [("minute", 65), ("hour", 3600), ("day", 86_400), ("month", 31 * 86_400)]
)
async def test_a_window_starts_anew(bench: Bench, ctx: Context, window: Any, seconds: int) -> None:
    service = await bench.service(BudgetSpec("all", limits=(Limit(window, requests=1),)))
    await settle(service, ctx, await reserve(service, ctx), Usage(1, 1))
    with pytest.raises(BudgetExceeded) as refused:
        await reserve(service, ctx)
    assert refused.value.retry_after is not None and 0 < refused.value.retry_after <= seconds
    bench.clock.advance(refused.value.retry_after - 1)
    with pytest.raises(BudgetExceeded):
        await reserve(service, ctx)
    bench.clock.advance(1)
    assert await reserve(service, ctx)


@pytest.mark.parametrize(("limit", "pause"), [(6, 0.7), (60, 0.11), (300, 0.07)])
@pytest.mark.parametrize("shared", ENGINES)
async def test_a_minute_is_any_sixty_seconds(bench: Bench, ctx: Context, shared: str, limit: int, pause: float) -> None:
    budget = BudgetSpec("all", limits=(Limit("minute", requests=limit),))
    services = [await bench.service(budget, shared=shared, background=False) for _ in range(2)]
    moments: list[float] = []
    for i in range(round(130 / pause)):
        bench.clock.advance(pause)
        if i % 5 == 0:
            await services[i % 2].tidy()
        try:
            held = await reserve(services[i % 5 == 0], ctx)
        except BudgetExceeded:
            continue
        await settle(services[i % 5 == 0], ctx, held, Usage(1, 1))
        moments.append(bench.clock.monotonic())
    assert all(later - first >= 60 for first, later in zip(moments, moments[limit:], strict=False))
    assert len(moments) >= 1.6 * limit, "and no much less passes than the limit allows"


async def test_a_call_counts_in_the_window_in_which_it_began(bench: Bench, ctx: Context) -> None:
    service = await bench.service(BudgetSpec("all", limits=(Limit("hour", requests=1, cost="1"),)))
    held = await reserve(service, ctx)
    bench.clock.advance(3600)
    other = await reserve(service, ctx)
    await settle(service, ctx, held, Usage(100, 50))
    await service.tidy()
    now = await level(service, ctx, "all")
    assert (now.used, now.reserved) == (0, CENT)
    await service.release(ctx, other)


async def test_calls_at_once_are_limited_and_none_is_held_for_ever(bench: Bench, ctx: Context) -> None:
    service = await bench.service(BudgetSpec("all", "key:*", concurrency=2))
    held = [await reserve(service, ctx), await reserve(service, ctx)]
    with pytest.raises(BudgetExceeded, match="at once"):
        await reserve(service, ctx)
    assert await reserve(service, caller("key:bob"))
    await settle(service, ctx, held[0], Usage(1, 1))
    assert await reserve(service, ctx)


@pytest.mark.parametrize("shared", ENGINES)
async def test_calls_of_a_process_that_is_gone_are_free_after_their_lease(
    bench: Bench, ctx: Context, shared: str
) -> None:
    budget = BudgetSpec("all", concurrency=1)
    gone, alive = await bench.service(budget, shared=shared), await bench.service(budget, shared=shared)
    await reserve(gone, ctx)
    with pytest.raises(BudgetExceeded):
        await reserve(alive, ctx)
    bench.clock.advance(61)
    assert await reserve(alive, ctx)


@pytest.mark.parametrize("shared", ENGINES)
async def test_a_lease_is_kept_while_its_process_lives(bench: Bench, ctx: Context, shared: str) -> None:
    budget = BudgetSpec("all", concurrency=1)
    one, two = await bench.service(budget, shared=shared), await bench.service(budget, shared=shared)
    await reserve(one, ctx)
    for _ in range(6):
        bench.clock.advance(20)
        await one.tidy()
        with pytest.raises(BudgetExceeded):
            await reserve(two, ctx)


async def test_a_call_that_nobody_ends_counts_in_full_and_is_corrected_when_it_ends(bench: Bench, ctx: Context) -> None:
    service = await bench.service(BudgetSpec("all", limits=(Limit("day", cost="1"),), concurrency=1), longest=100)
    held = await reserve(service, ctx, most=CENT)
    bench.clock.advance(101)
    await service.tidy()
    now = await level(service, ctx, "all")
    assert (now.used, now.reserved) == (CENT, 0)
    assert await reserve(service, ctx, most=0)
    cost = await settle(service, ctx, held, Usage(10, 10))
    await service.tidy()
    assert (await level(service, ctx, "all")).used == cost


@pytest.mark.parametrize(
    ("subject", "covered", "not_covered"),
    [
        ("tenant", {}, None),
        ("key:ada", {}, {"principal": "key:bob"}),
        ("user:eve", {"principal": "user:eve"}, {}),
        ("user:*", {"principal": "user:eve"}, {}),
        ("key:*", {"principal": "user:eve"}, None),
        ("route:code", {"route": "code"}, {"route": "other"}),
        ("route:*", {"route": "code"}, {}),
        ("tag:project=x", {"tags": {"project": "x"}}, {"tags": {"project": "y"}}),
        ("tag:project=*", {"tags": {"project": "x"}}, {"tags": {"other": "x"}}),
        ("team:red", {"principal": "key:red1"}, {}),
        ("team:*", {"principal": "key:red1"}, {}),
    ],
)
async def test_a_budget_covers_its_subject_and_nothing_else(
    bench: Bench, ctx: Context, subject: str, covered: dict[str, Any], not_covered: dict[str, Any] | None
) -> None:
    service = await bench.service(BudgetSpec("one", subject, limits=(Limit("day", requests=0),)))
    await service.put_team(ctx, "red", ["key:red1"])

    async def call(principal: str = "key:ada", **more: Any) -> None:
        await service.release(ctx, await reserve(service, caller(principal), **more))

    with pytest.raises(BudgetExceeded, match="one"):
        await call(**covered)
    if not_covered is not None:
        await call(**not_covered)


async def test_tenants_are_counted_apart(bench: Bench, ctx: Context) -> None:
    service = await bench.service(BudgetSpec("all", limits=(Limit("day", requests=1),)))
    await settle(service, ctx, await reserve(service, ctx), Usage(1, 1))
    other = caller(tenant="t2")
    await settle(service, other, await reserve(service, other), Usage(1, 1))
    assert (await service.invoice(other, start=NOON.date(), end=NOON.date() + timedelta(days=1))).requests == 1


async def test_a_model_without_a_price_is_not_used_under_a_budget_of_cost(bench: Bench, ctx: Context) -> None:
    service = await bench.service(BudgetSpec("all", "key:ada", limits=(Limit("day", cost="1"),)))
    with pytest.raises(BudgetExceeded, match="no price"):
        await reserve(service, ctx, most=0, priced=False)
    bob = caller("key:bob")
    held = await reserve(service, bob, most=0, priced=False)
    assert await service.settle(bob, held, Usage(5, 5), price=None, outcome="ok") == 0
    invoice = await service.invoice(ctx, start=NOON.date(), end=NOON.date() + timedelta(days=1))
    assert (invoice.requests, invoice.unpriced, invoice.cost) == (1, 1, 0)


async def test_a_call_that_never_fits_is_told_so(bench: Bench, ctx: Context) -> None:
    service = await bench.service(BudgetSpec("all", limits=(Limit("day", cost="0.01"),)))
    with pytest.raises(BudgetExceeded, match="never fit") as refused:
        await reserve(service, ctx, most=2 * CENT)
    assert refused.value.retry_after is None


async def test_a_caller_who_leaves_takes_no_allowance_along(bench: Bench, ctx: Context) -> None:
    service = await bench.service(BudgetSpec("all", limits=(Limit("day", cost="0.01"),)))
    task = asyncio.create_task(reserve(service, ctx, most=CENT))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await reserve(service, ctx, most=CENT)


@pytest.mark.parametrize(
    "spec",
    [
        BudgetSpec("", limits=(Limit("day", requests=1),)),
        BudgetSpec("a/b", limits=(Limit("day", requests=1),)),
        BudgetSpec("a", "team:", limits=(Limit("day", requests=1),)),
        BudgetSpec("a", "tenant:x", limits=(Limit("day", requests=1),)),
        BudgetSpec("a", "tag:x", limits=(Limit("day", requests=1),)),
        BudgetSpec("a", "planet:x", limits=(Limit("day", requests=1),)),
        BudgetSpec("a"),
        BudgetSpec("a", limits=(Limit("day"),)),
        BudgetSpec("a", limits=(Limit("week", requests=1),)),  # type: ignore[arg-type]
        BudgetSpec("a", limits=(Limit("day", requests=-1),)),
        BudgetSpec("a", limits=(Limit("day", cost="-1"),)),
        BudgetSpec("a", limits=(Limit("day", requests=1), Limit("day", requests=2))),
        BudgetSpec("a", concurrency=-1),
    ],
)
async def test_a_budget_that_cannot_be_is_refused(bench: Bench, ctx: Context, spec: BudgetSpec) -> None:
    service = await bench.service()
    with pytest.raises(InvalidInput) as refused:
        await service.put_budget(ctx, spec)
    assert refused.value.fields
    with pytest.raises(InvalidInput):
        await bench.service(spec)
