"""What Prometheus is told of models: attempts, time, tokens, cost and kept answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families as families

from stanchion.core.telemetry.contract import Observatory
from stanchion.gateway import Ask, Gateway
from stanchion.system import System
from stanchion.testing import offline
from stanchion.testing.upstreams import Fault, Reply, Usage, upstream

SCRIPT = Reply("One two three.", usage=Usage(tokens_in=100, tokens_out=10))


@asynccontextmanager
async def gateway_of(*faults: Fault, **route: Any) -> AsyncIterator[Any]:
    async with AsyncExitStack() as stack:
        app = System("metrics")
        for name in "ab":
            up = await stack.enter_async_context(upstream("openai", SCRIPT, faults=faults if name == "a" else ()))
            app.upstream(name, kind="openai", url=up.url + "/v1")
            app.language_model(name, upstream=name, input_price="1", output_price="2")
        app.route("task", primary="a", fallbacks=["b"], **route)
        yield await stack.enter_async_context(offline(app))


async def told(run: Any, name: str) -> dict[tuple[str, ...], float]:
    """The series of one metric that are not zero, by the values of their labels."""
    samples = [s for f in families(await run.door(Observatory).metrics(run.ctx)) for s in f.samples if s.name == name]
    return {tuple(s.labels.values()): s.value for s in samples if s.value}


def ask(**more: Any) -> Ask:
    body = {"model": "route:task", "messages": [{"role": "user", "content": "Hi."}], **more}
    return Ask("chat", json.dumps(body).encode())


async def test_attempts_tokens_and_cost_are_counted_by_model() -> None:
    async with gateway_of(Fault("failed")) as run:
        gateway = run.door(Gateway)
        assert (await gateway.complete(run.ctx, ask())).account.upstream == "b"
        assert await told(run, "stanchion_gateway_attempts_total") == {("a", "unavailable"): 1, ("b", "ok"): 1}
        assert await told(run, "stanchion_gateway_tokens_total") == {("b", "in"): 100, ("b", "out"): 10}
        # 100 and 10 tokens at 1 and 2 dollars a million.
        assert (await told(run, "stanchion_gateway_cost_dollars_total"))["b",] == pytest.approx(120e-6)
        assert await told(run, "stanchion_gateway_attempt_seconds_count") == {("a",): 1, ("b",): 1}
        assert await told(run, "stanchion_gateway_first_token_seconds_count") == {}


async def test_a_stream_tells_when_it_began() -> None:
    async with gateway_of() as run:
        async for _ in run.door(Gateway).stream(run.ctx, ask(stream=True)):
            assert await told(run, "stanchion_gateway_first_token_seconds_count") == {("a",): 1}
        assert await told(run, "stanchion_gateway_attempts_total") == {("a", "ok"): 1}


async def test_kept_answers_are_counted_and_are_no_attempts() -> None:
    async with gateway_of(cache_seconds=60) as run:
        for _ in range(3):
            await run.door(Gateway).complete(run.ctx, ask())
        assert await told(run, "stanchion_cache_total") == {("gateway", "miss"): 1, ("gateway", "hit"): 2}
        assert await told(run, "stanchion_gateway_attempts_total") == {("a", "ok"): 1}
