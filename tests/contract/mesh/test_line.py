"""What a line between two processes adds to a call: the caller's rights, time and trace travel, and leaving is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context, Rights, Trace
from stanchion.core.errors import DeadlineExceeded, NotAllowed
from stanchion.core.security.contract import Audit, Keys
from stanchion.core.telemetry.contract import Observatory
from stanchion.registry import Registry
from stanchion.testing.registry_cases import ADA, FILES, draft

pytestmark = pytest.mark.parametrize("way", ["far-embedded"], indirect=True)


@pytest.fixture
async def place(placed: Any) -> AsyncIterator[Any]:
    async with placed("registry", clock=SystemClock()) as found:
        yield found


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what the far side does after the line was cut: nobody tells of it."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_caller_is_refused_by_the_far_gate_and_named_in_its_audit_log(place: Any) -> None:
    weak = Context("t1", "key:weak", Rights(frozenset({"viewer"})))
    with pytest.raises(NotAllowed, match="key:weak lacks registry:register"):
        await place.door(Registry).register(weak, draft(), FILES)
    [denied] = await place.door(Audit).events(ADA)
    assert (denied.principal, denied.action, denied.outcome) == ("key:weak", "registry:register", "denied")
    assert denied.request_id == weak.request_id


async def test_every_right_of_a_caller_travels_and_no_more(place: Any) -> None:
    many = frozenset(f"module{number:03}:{'verb' * 15}" for number in range(98))
    rights = Rights(frozenset(), many | {"keys:create", "keys:list"})
    ctx = Context("t1", "key:many", rights)
    made = await place.door(Keys).create(ctx, name="all of them", scopes=sorted(many))
    assert made.info.rights.scopes == many
    narrow = replace(ctx, rights=replace(rights, limit=frozenset({"keys:list"})))
    assert len(await place.door(Keys).list(narrow)) == 1
    with pytest.raises(NotAllowed):
        await place.door(Keys).create(narrow, name="no", scopes=["keys:list"])


async def test_the_time_that_is_left_travels(place: Any) -> None:
    clock = SystemClock()
    late = replace(ADA, deadline=clock.monotonic() - 1)
    with pytest.raises(DeadlineExceeded):
        await place.door(Registry).models(late)
    soon = replace(ADA, deadline=clock.monotonic() + 0.2)
    with pytest.raises(DeadlineExceeded):
        async for _ in place.door(Registry).watch(soon, since=0):
            raise AssertionError("nothing has changed")


async def test_a_call_is_one_trace_on_both_sides(place: Any) -> None:
    ctx = replace(ADA, trace=Trace.new(sampled=True))
    await place.door(Registry).models(ctx)
    await place.house.foundation.spans.flush()
    [span] = await place.door(Observatory).trace(ADA, ctx.trace.trace_id)
    assert (span.name, span.parent_id) == ("registry:read", ctx.trace.span_id)


async def test_leaving_a_stream_that_says_nothing_ends_it_on_the_far_side(place: Any) -> None:
    waiting = asyncio.create_task(anext(aiter(place.door(Registry).watch(ADA, since=0))))

    def seen(outcome: str) -> bool:
        text = place.house.foundation.metrics.render()[0].decode()
        return any("registry:read" in line and outcome in line for line in text.splitlines())

    # A stream that is open has not been counted; another call shows that the line is in use.
    await place.door(Registry).models(ADA)
    assert not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await until(lambda: seen("cancelled"))


async def test_cancelling_a_call_leaves_the_line_usable(place: Any) -> None:
    async def one(delay: float) -> None:
        task = asyncio.ensure_future(place.door(Registry).register(ADA, draft(weights=str(delay)), FILES))
        await asyncio.sleep(delay)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    for delay in (0.0, 0.001, 0.005, 0.02):
        await one(delay)
    made = await place.door(Registry).register(ADA, draft(weights="whole"), FILES)
    assert await place.door(Registry).resolve(ADA, f"churn@{made.version}") == made
