"""A route's cache gives the same answer to the same request, once billed, and never across rights or versions."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from stanchion.core.context import system_context
from stanchion.core.errors import Throttled
from stanchion.gateway import Account, Ask, Gateway, Reply, RouteSpec
from stanchion.gateway.caching import Answers
from stanchion.gateway.routing.table import Target
from stanchion.system import System
from stanchion.testing import offline
from stanchion.testing.clock import FakeClock
from stanchion.testing.upstreams import Call, upstream
from stanchion.testing.upstreams import Reply as Says


def ask(text: str, model: str = "route:cached") -> Ask:
    return Ask("chat", json.dumps({"model": model, "messages": [{"role": "user", "content": text}]}).encode())


async def test_the_same_request_is_answered_once_until_its_time_is_over() -> None:
    clock = FakeClock()
    async with upstream("openai", lambda call: Says(f"Answer {call.number}.")) as server:
        app = System("cached")
        here = app.upstream("here", kind="openai", url=server.url + "/v1")
        app.language_model("m", upstream=here, input_price="1", output_price="1")
        app.route("cached", primary="m", cache_seconds=60)
        async with offline(app, clock=clock) as running:
            gateway = running.door(Gateway)
            first = await gateway.complete(running.ctx, ask("Hello"))
            again = await gateway.complete(running.ctx, ask("Hello"))
            assert (first.account.cache, again.account.cache) == ("miss", "hit")
            assert again.body == first.body
            assert first.account.cost > 0
            assert (again.account.cost, again.account.usage.tokens_in) == (0, 0)
            other = replace(running.ctx, tenant="other")
            limited = replace(running.ctx, rights=running.ctx.rights.narrowed(frozenset({"gateway:*"})))
            for ctx, asked in ((other, ask("Hello")), (limited, ask("Hello")), (running.ctx, ask("Hello!"))):
                assert (await gateway.complete(ctx, asked)).account.cache == "miss"
            clock.advance(61)
            assert (await gateway.complete(running.ctx, ask("Hello"))).account.cache == "miss"
            assert (await gateway.complete(running.ctx, ask("Hello", "m"))).account.cache == ""
            assert len(server.calls) == 6


async def test_equal_calls_under_way_share_one_answer() -> None:
    released = asyncio.Event()

    async def slow(call: Call) -> Says:
        await released.wait()
        return Says("Done.")

    async with upstream("openai", slow) as server:
        app = System("cached")
        app.language_model("m", upstream=app.upstream("here", kind="openai", url=server.url + "/v1"))
        app.route("cached", primary="m", cache_seconds=60)
        async with offline(app) as running:
            gateway = running.door(Gateway)
            calls = [asyncio.create_task(gateway.complete(running.ctx, ask("Hello"))) for _ in range(5)]
            async with asyncio.timeout(60):
                while not server.calls:
                    await asyncio.sleep(0.01)
            released.set()
            states = sorted([(await call).account.cache for call in calls])
            assert states == ["coalesced"] * 4 + ["miss"]
            assert len(server.calls) == 1


async def test_a_live_call_is_not_refused_with_one_of_a_batch() -> None:
    answers, asked, under_way = Answers(FakeClock()), ask("Hello"), asyncio.Event()
    target = Target("cached", 0, RouteSpec(name="cached", primary="m", cache_seconds=60), (), None, {})
    ctx = system_context("acme", task="test")

    async def refused() -> Reply:
        under_way.set()
        await asyncio.sleep(0)
        raise Throttled("the batch waits")

    async def answered() -> Reply:
        return Reply(b"{}", Account("here", "m", "primary"))

    behind = asyncio.create_task(answers.get(ctx, replace(asked, background=True), target, refused))
    await under_way.wait()
    assert (await answers.get(ctx, asked, target, answered)).account.cache == "miss"
    with pytest.raises(Throttled):
        await behind


async def test_what_a_batch_was_answered_is_kept_for_live_calls() -> None:
    async with upstream("openai", "Done.") as server:
        app = System("cached")
        app.language_model("m", upstream=app.upstream("here", kind="openai", url=server.url + "/v1"))
        app.route("cached", primary="m", cache_seconds=60)
        async with offline(app) as running:
            gateway = running.door(Gateway)
            assert (await gateway.complete(running.ctx, replace(ask("Hello"), background=True))).account.cache == "miss"
            assert (await gateway.complete(running.ctx, ask("Hello"))).account.cache == "hit"
