"""A route's cache gives the same answer to the same request, once billed, and never across rights or versions."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

from stanchion.gateway import Ask, Gateway
from stanchion.system import System
from stanchion.testing import offline
from stanchion.testing.clock import FakeClock
from stanchion.testing.upstreams import Call, Reply, upstream


def ask(text: str, model: str = "route:cached") -> Ask:
    return Ask("chat", json.dumps({"model": model, "messages": [{"role": "user", "content": text}]}).encode())


async def test_the_same_request_is_answered_once_until_its_time_is_over() -> None:
    clock = FakeClock()
    async with upstream("openai", lambda call: Reply(f"Answer {call.number}.")) as server:
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

    async def slow(call: Call) -> Reply:
        await released.wait()
        return Reply("Done.")

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
