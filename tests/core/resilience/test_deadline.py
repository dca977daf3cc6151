from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.core.clock import SystemClock
from stanchion.core.errors import DeadlineExceeded, StanchionError
from stanchion.core.resilience import bounded
from stanchion.core.resilience.deadline import Begun


async def forever(ctx=None):
    await asyncio.Event().wait()


async def test_the_own_limit_is_told_from_the_callers_deadline(ctx):
    clock = SystemClock()
    own = bounded(ctx, 0.001, clock=clock)
    with pytest.raises(DeadlineExceeded, match=r"limit of 0\.001 s"):
        async with own:
            await forever()
    callers = bounded(replace(ctx, deadline=clock.monotonic() + 0.001), 60.0, clock=clock)
    with pytest.raises(DeadlineExceeded, match="caller's deadline"):
        await callers.run(forever)
    assert (own.passed, callers.passed) == ("own", "caller")


async def test_a_passed_deadline_is_refused_at_once(ctx, clock):
    late = replace(ctx, deadline=clock.monotonic())
    ran = []
    with pytest.raises(DeadlineExceeded):
        async with bounded(late, clock=clock):
            ran.append(1)
    with pytest.raises(DeadlineExceeded):
        await bounded(late, clock=clock).run(forever)
    assert not ran


@pytest.mark.parametrize("waits", [False, True])
async def test_a_timeout_of_the_blocks_own_passes_through(ctx, clock, waits):
    async def call(ctx):
        if waits:
            await asyncio.sleep(0)
        raise TimeoutError

    with pytest.raises(TimeoutError) as one:
        async with bounded(ctx, 60.0, clock=clock) as narrowed:
            await call(narrowed)
    with pytest.raises(TimeoutError) as other:
        await bounded(ctx, 60.0, clock=clock).run(call)
    assert not isinstance(one.value, StanchionError)
    assert not isinstance(other.value, StanchionError)


async def test_the_limit_counts_from_the_start_though_the_timer_starts_later(ctx, clock):
    async def call(ctx):
        clock.advance(5.0)
        await forever()

    with pytest.raises(DeadlineExceeded):
        await bounded(ctx, 5.0, clock=clock).run(call)


async def test_nested_limits_each_raise_their_own(ctx):
    clock = SystemClock()

    async def inner(ctx):
        with pytest.raises(DeadlineExceeded):
            await bounded(ctx, 0.001, clock=clock).run(forever)
        return "done"

    outer = bounded(ctx, 60.0, clock=clock)
    assert await outer.run(inner) == "done"
    assert outer.passed is None

    async def longer(ctx):
        await bounded(ctx, 60.0, clock=clock).run(forever)

    with pytest.raises(DeadlineExceeded):
        await bounded(ctx, 0.001, clock=clock).run(longer)


async def test_cancelling_a_bounded_call_is_a_cancellation(ctx):
    task = asyncio.create_task(bounded(ctx, 60.0, clock=SystemClock()).run(forever))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def program(steps, log):
    """A coroutine that waits, catches and ends as `steps` say, and logs all it sees."""

    async def run():
        for step in steps:
            try:
                if step == "wait":
                    await asyncio.sleep(0)
                elif step == "future":
                    future = asyncio.get_running_loop().create_future()
                    asyncio.get_running_loop().call_soon(future.set_result, len(log))
                    log.append(await future)
                elif step == "group":
                    async with asyncio.TaskGroup() as group:
                        log.append(await group.create_task(asyncio.sleep(0, "grouped")))
                elif step == "fail":
                    raise ValueError(step)
                elif step == "timeout":
                    async with asyncio.timeout(0):
                        await forever()
                log.append(step)
            except (TimeoutError, asyncio.CancelledError) as error:
                log.append(type(error).__name__)
        return len(log)

    return run()


async def outcome(awaitable, cancel_after):
    async def run():
        return await awaitable

    task = asyncio.create_task(run())
    for _ in range(cancel_after):
        await asyncio.sleep(0)
    task.cancel()
    [result] = await asyncio.gather(task, return_exceptions=True)
    return repr(result)


class Late:
    """Begins its coroutine only when awaited, as `bounded.run` does."""

    def __init__(self, coroutine):
        self.coroutine = coroutine

    def __await__(self):
        begun = Begun(self.coroutine)
        return (yield from begun.__await__()) if begun.waits else begun.value


@given(st.lists(st.sampled_from(["wait", "future", "group", "fail", "timeout", "go"]), max_size=6), st.integers(1, 12))
def test_a_begun_awaitable_behaves_as_a_plain_await(steps, cancel_after):
    async def scenario():
        plain, begun = [], []
        one = await outcome(program(steps, plain), cancel_after)
        other = await outcome(Late(program(steps, begun)), cancel_after)
        assert (one, plain) == (other, begun)

    asyncio.run(scenario())
