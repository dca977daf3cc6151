from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.core.clock import SystemClock
from stanchion.core.errors import DeadlineExceeded, InvalidInput, Misconfigured, Throttled
from stanchion.core.resilience import Adaptive, ConcurrencyLimiter


class Calls:
    """Calls that run until they are let go."""

    def __init__(self, limiter, ctx):
        self.limiter, self.ctx = limiter, ctx
        self.order = []
        self.gates = {}
        self.tasks = {}

    async def start(self, name):
        self.gates[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._run(name))
        await settle()

    async def _run(self, name):
        async with self.limiter.slot(self.ctx):
            self.order.append(name)
            await self.gates[name].wait()

    async def end(self, name):
        self.gates[name].set()
        await self.tasks[name]
        await settle()


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_calls_beyond_the_limit_wait_in_order_and_the_rest_are_shed(ctx, clock):
    limiter = ConcurrencyLimiter(1, clock=clock, queue=2)
    calls = Calls(limiter, ctx)
    for name in "abc":
        await calls.start(name)
    assert (calls.order, limiter.running, limiter.waiting) == (["a"], 1, 2)
    with pytest.raises(Throttled) as shed:
        async with limiter.slot(ctx):
            pass
    assert shed.value.retry_after > 0
    for name in "abc":
        await calls.end(name)
    assert (calls.order, limiter.running, limiter.waiting) == (["a", "b", "c"], 0, 0)


async def test_a_waiter_who_gives_up_frees_its_place_in_the_queue(ctx, clock):
    limiter = ConcurrencyLimiter(1, clock=clock, queue=1)
    calls = Calls(limiter, ctx)
    await calls.start("a")
    await calls.start("b")
    calls.tasks["b"].cancel()
    await settle()
    await calls.start("c")
    await calls.end("a")
    assert calls.order == ["a", "c"]
    await calls.end("c")
    assert limiter.running == 0


async def test_a_place_handed_to_a_cancelled_waiter_goes_to_the_next(ctx, clock):
    limiter = ConcurrencyLimiter(1, clock=clock, queue=2)
    calls = Calls(limiter, ctx)
    async with limiter.slot(ctx):
        await calls.start("b")
        await calls.start("c")
    # The place is b's by now, but b has not run yet.
    calls.tasks["b"].cancel()
    await settle()
    assert calls.order == ["c"]
    await calls.end("c")
    assert (limiter.running, limiter.waiting) == (0, 0)


async def test_the_callers_deadline_holds_in_the_queue(ctx):
    clock = SystemClock()
    limiter = ConcurrencyLimiter(1, clock=clock, queue=1)
    async with limiter.slot(ctx):
        with pytest.raises(DeadlineExceeded):
            async with limiter.slot(replace(ctx, deadline=time.monotonic() + 0.001)):
                pass
    assert (limiter.running, limiter.waiting) == (0, 0)


async def test_quick_calls_at_the_limit_raise_it(ctx, clock):
    limiter = ConcurrencyLimiter(Adaptive(latency=1.0, initial=2, maximum=3), clock=clock)
    for _ in range(20):
        async with limiter.slot(ctx), limiter.slot(ctx):
            pass
    assert limiter.limit == 3


async def test_an_unused_limit_does_not_grow(ctx, clock):
    limiter = ConcurrencyLimiter(Adaptive(latency=1.0, initial=10), clock=clock)
    for _ in range(100):
        async with limiter.slot(ctx):
            pass
    assert limiter.limit == 10


async def test_slow_and_failing_calls_lower_it_once_per_latency(ctx, clock):
    limiter = ConcurrencyLimiter(Adaptive(latency=1.0, initial=20, minimum=15, backoff=0.9), clock=clock)
    async with limiter.slot(ctx), limiter.slot(ctx):
        clock.advance(2)
    assert limiter.limit == 18
    clock.advance(1)
    with pytest.raises(ValueError):
        async with limiter.slot(ctx):
            raise ValueError
    assert limiter.limit == 16
    clock.advance(1)
    with pytest.raises(InvalidInput):
        async with limiter.slot(ctx):
            raise InvalidInput
    assert limiter.limit == 16


@pytest.mark.parametrize("wrong", [{"latency": 0.0}, {"latency": 1.0, "minimum": 0}, {"latency": 1.0, "maximum": 1}])
def test_an_adaptive_limit_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(Misconfigured):
        Adaptive(**wrong)


@given(st.lists(st.tuples(st.sampled_from(["start", "end", "cancel"]), st.integers(0, 9)), max_size=60))
def test_the_limit_holds_and_no_place_is_ever_lost(new_clock, ctx, events):
    async def scenario():
        limiter = ConcurrencyLimiter(2, clock=new_clock(), queue=3)
        calls = Calls(limiter, ctx)
        for event, name in events:
            if event == "start" and name not in calls.tasks:
                await calls.start(name)
            elif event == "cancel" and name in calls.tasks:
                calls.tasks[name].cancel()
            elif event == "end" and name in calls.gates:
                calls.gates[name].set()
            assert limiter.running <= 2
            assert limiter.waiting <= 3
        for name, task in calls.tasks.items():
            calls.gates[name].set()
            await asyncio.wait([task])
        assert (limiter.running, limiter.waiting) == (0, 0)

    asyncio.run(scenario())
