"""Every call through a door is authorised, bounded, metered and, where it changes something, audited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Protocol

import pytest

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context, Effect, Trace
from stanchion.core.contract import Action, action
from stanchion.core.errors import DeadlineExceeded, Misconfigured, NotAllowed, NotFound, StanchionError
from stanchion.core.gate import Authoriser, Gate, Instruments, Recorder


class Shop(Protocol):
    @action("shop:look", effect="read", resource="Item", by="item")
    async def look(self, ctx: Context, item: str) -> str: ...

    @action("shop:buy", effect="write", resource="Item", by="item")
    async def buy(self, ctx: Context, item: str, *, count: int = 1) -> int: ...

    @action("shop:send", effect="outward", resource="Item", by="item")
    async def send(self, ctx: Context, item: str) -> None: ...

    @action("shop:wait", effect="read", resource="Item", seconds=0.01)
    async def wait(self, ctx: Context) -> None: ...

    @action("shop:stay", effect="read", resource="Item")
    async def stay(self, ctx: Context) -> None: ...

    @action("shop:stream", effect="read", resource="Item")
    def stream(self, ctx: Context, count: int) -> AsyncIterator[int]: ...


class Service(Shop):
    def __init__(self) -> None:
        self.seen: list[Context] = []

    async def look(self, ctx: Context, item: str) -> str:
        self.seen.append(ctx)
        if item == "absent":
            raise NotFound("no such item")
        if item == "broken":
            raise ZeroDivisionError("boom")
        return item

    async def buy(self, ctx: Context, item: str, *, count: int = 1) -> int:
        self.seen.append(ctx)
        if item == "broken":
            raise ZeroDivisionError("boom")
        return count

    async def send(self, ctx: Context, item: str) -> None:
        self.seen.append(ctx)

    async def wait(self, ctx: Context) -> None:
        await asyncio.Event().wait()

    async def stay(self, ctx: Context) -> None:
        await asyncio.Event().wait()

    async def stream(self, ctx: Context, count: int) -> AsyncIterator[int]:
        for number in range(count):
            if number == 3:
                raise NotFound("no fourth")
            yield number


class Allow(Authoriser):
    def __init__(self, *, denied: str = "") -> None:
        self.denied = denied
        self.asked = 0
        self._generation = 0

    @property
    def generation(self) -> int:
        return self._generation

    def permits(self, ctx: Context, action: Action, resource: str) -> bool:
        self.asked += 1
        return action.name != self.denied

    def forbid(self, name: str) -> None:
        self.denied = name
        self._generation += 1


class Records(Recorder):
    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.broken = False

    async def record(self, effect: Effect, outcome: str) -> None:
        if self.broken:
            raise StanchionError("the log is full")
        self.events.append((effect.action, outcome))


class Measures(Instruments):
    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.faults: list[Exception] = []
        self.spans = 0

    def observe(self, action: str, outcome: str, seconds: float) -> None:
        self.calls.append((action, outcome))

    @contextmanager
    def span(self, ctx: Context, name: str, resource: str) -> Iterator[Context]:
        self.spans += ctx.trace.sampled
        yield ctx

    def fault(self, ctx: Context, action: str, error: Exception) -> None:
        self.faults.append(error)


class Desk:
    def __init__(self, *, denied: str = "") -> None:
        self.allow, self.records, self.measures = Allow(denied=denied), Records(), Measures()
        self.service = Service()
        gate = Gate(authoriser=self.allow, recorder=self.records, instruments=self.measures, clock=SystemClock())
        self.shop: Shop = gate.wrap(Shop, self.service)


CTX = Context(tenant="a", principal="key:1")


async def test_a_permitted_read_answers_and_is_metered() -> None:
    desk = Desk()
    assert await desk.shop.look(CTX, "apple") == "apple"
    assert desk.measures.calls == [("shop:look", "ok")]
    assert desk.records.events == []


async def test_a_denied_call_never_reaches_the_service_and_is_audited() -> None:
    desk = Desk(denied="shop:look")
    with pytest.raises(NotAllowed, match="shop:look"):
        await desk.shop.look(CTX, "apple")
    assert desk.service.seen == []
    assert desk.records.events == [("shop:look", "denied")]


async def test_a_denied_stream_yields_nothing() -> None:
    desk = Desk(denied="shop:stream")
    with pytest.raises(NotAllowed):
        await anext(desk.shop.stream(CTX, 3))
    assert desk.records.events == [("shop:stream", "denied")]


async def test_decisions_are_asked_once_until_a_policy_changes() -> None:
    desk = Desk()
    for _ in range(5):
        await desk.shop.look(CTX, "apple")
    assert desk.allow.asked == 1
    desk.allow.forbid("shop:look")
    with pytest.raises(NotAllowed):
        await desk.shop.look(CTX, "apple")


async def test_a_decision_is_never_shared_between_tenants_principals_or_resources() -> None:
    desk = Desk()
    await desk.shop.look(CTX, "apple")
    await desk.shop.look(Context(tenant="b", principal="key:1"), "apple")
    await desk.shop.look(Context(tenant="a", principal="key:2"), "apple")
    await desk.shop.look(CTX, item="pear")
    assert desk.allow.asked == 4


async def test_a_write_that_no_database_recorded_is_recorded_by_the_gate() -> None:
    desk = Desk()
    assert await desk.shop.buy(CTX, "apple", count=2) == 2
    assert desk.records.events == [("shop:buy", "done")]
    effect = desk.service.seen[0].effect
    assert effect is not None and effect.resource == "Item::apple"


async def test_a_write_recorded_in_its_transaction_is_not_recorded_twice() -> None:
    desk = Desk()

    async def recorded(ctx: Context, item: str, *, count: int = 1) -> int:
        assert ctx.effect is not None
        ctx.effect.recorded += 1
        return count

    desk.service.buy = recorded  # type: ignore[method-assign]
    gate = Gate(authoriser=desk.allow, recorder=desk.records, instruments=desk.measures, clock=SystemClock())
    await gate.wrap(Shop, desk.service).buy(CTX, "apple")
    assert desk.records.events == []


async def test_a_failed_write_is_told_as_failed_and_hides_its_cause() -> None:
    desk = Desk()
    with pytest.raises(StanchionError) as caught:
        await desk.shop.buy(CTX, "broken")
    assert "boom" not in str(caught.value)
    assert desk.records.events == [("shop:buy", "failed")]
    assert isinstance(desk.measures.faults[0], ZeroDivisionError)


async def test_an_outward_effect_is_announced_before_and_told_after() -> None:
    desk = Desk()
    await desk.shop.send(CTX, "apple")
    assert desk.records.events == [("shop:send", "intent"), ("shop:send", "done")]


async def test_an_outward_effect_does_not_happen_when_the_log_takes_no_intent() -> None:
    desk = Desk()
    desk.records.broken = True
    with pytest.raises(StanchionError):
        await desk.shop.send(CTX, "apple")
    assert desk.service.seen == []


async def test_a_methods_own_limit_ends_the_call() -> None:
    desk = Desk()
    with pytest.raises(DeadlineExceeded):
        await desk.shop.wait(CTX)
    assert desk.measures.calls == [("shop:wait", "deadline_exceeded")]


async def test_a_passed_deadline_ends_the_call_before_it_begins() -> None:
    desk = Desk()
    with pytest.raises(DeadlineExceeded):
        await desk.shop.look(CTX.until(SystemClock().monotonic() - 1), "apple")
    assert desk.service.seen == []


async def test_a_cancelled_call_is_counted_as_cancelled() -> None:
    desk = Desk()
    task = asyncio.create_task(desk.shop.stay(CTX))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert desk.measures.calls == [("shop:stay", "cancelled")]


async def test_a_stream_gives_its_items_and_then_its_error() -> None:
    desk = Desk()
    got: list[int] = []
    with pytest.raises(NotFound):
        async for number in desk.shop.stream(CTX, 5):
            got.append(number)
    assert got == [0, 1, 2]
    assert desk.measures.calls == [("shop:stream", "not_found")]


async def test_only_sampled_calls_make_spans() -> None:
    desk = Desk()
    await desk.shop.look(CTX, "apple")
    assert desk.measures.spans == 0
    await desk.shop.look(Context(tenant="a", principal="k", trace=Trace.new(sampled=True)), "apple")
    assert desk.measures.spans == 1


def test_a_contract_method_without_an_action_cannot_be_built() -> None:
    class Open(Protocol):
        async def anything(self, ctx: Context) -> None: ...

    with pytest.raises(Misconfigured, match="no @action"):
        Gate(authoriser=Allow(), recorder=Records(), instruments=Measures(), clock=SystemClock()).wrap(Open, object())
