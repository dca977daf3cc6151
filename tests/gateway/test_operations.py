"""Taking upstreams out of service, probing them, and asking the better one of equals first."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from stanchion.core.errors import InvalidInput, Misconfigured, NotFound, Unavailable
from stanchion.gateway import Ask, Gateway, RouteSpec
from stanchion.system import System
from stanchion.testing import offline
from stanchion.testing.upstreams import Fault, Reply, Upstream, upstream


@asynccontextmanager
async def pair(*, probe: float | None = None, scripts: Any = ("A.", "B."), **route: Any) -> AsyncIterator[Any]:
    async with AsyncExitStack() as stack:
        ups = [await stack.enter_async_context(upstream("openai", each)) for each in scripts]
        app = System("pair")
        for name, up, price in zip("ab", ups, ("2", "1"), strict=True):
            app.upstream(name, kind="openai", url=up.url + "/v1", probe_seconds=probe)
            app.language_model(name, upstream=name, input_price=price, output_price=price)
        app.route("task", primary="a", fallbacks=["b"], **route)
        run = await stack.enter_async_context(offline(app))
        yield run, run.door(Gateway), ups


async def answered(run: Any, gateway: Gateway, *, model: str = "route:task", ctx: Any = None, **more: Any) -> str:
    body = {"model": model, "messages": [{"role": "user", "content": "Hi."}], **more}
    if not more.get("stream"):
        return (await gateway.complete(ctx or run.ctx, Ask("chat", json.dumps(body).encode()))).account.upstream
    pieces = [piece async for piece in gateway.stream(run.ctx, Ask("chat", json.dumps(body).encode()))]
    assert pieces[0].opening is not None
    return pieces[0].opening.upstream


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not await holds():
            await asyncio.sleep(0.01)


async def test_a_drained_upstream_gets_no_new_calls_and_ends_those_under_way() -> None:
    held = asyncio.Event()

    async def wait(number: int) -> None:
        if number == 2:
            await held.wait()

    async with pair(scripts=(Reply("one two three", wait=wait), "B.")) as (run, gateway, _):
        stream = gateway.stream(run.ctx, Ask("chat", json.dumps(_chat(stream=True)).encode()))
        first = await anext(aiter(stream))
        assert first.opening is not None
        assert first.opening.upstream == "a"
        view = await gateway.drain(run.ctx, "a", drained=True)
        assert (view.name, view.drained, view.models, view.healthy) == ("a", True, ("a",), None)
        assert await answered(run, gateway) == "b"
        held.set()
        assert [piece async for piece in stream][-1].account is not None
        with pytest.raises(Unavailable, match="drained"):
            await answered(run, gateway, model="a")
        plan = await gateway.plan(run.ctx, Ask("chat", json.dumps(_chat()).encode()))
        assert [rung.refused for rung in plan.rungs] == ["its upstream is drained", ""]
        assert not (await gateway.drain(run.ctx, "a", drained=False)).drained
        assert await answered(run, gateway) == "a"
        with pytest.raises(NotFound, match="no upstream"):
            await gateway.drain(run.ctx, "c", drained=True)


def _chat(**more: Any) -> dict[str, Any]:
    return {"model": "route:task", "messages": [{"role": "user", "content": "Hi."}], **more}


async def test_a_tenants_drain_is_its_own_and_the_systems_holds_for_all() -> None:
    async with pair() as (run, gateway, _):
        other = run.caller("admin", tenant="other")
        await gateway.drain(other, "a", drained=True)
        assert await answered(run, gateway, ctx=other) == "b"
        assert await answered(run, gateway) == "a"
        await gateway.drain(other, "a", drained=False)
        await gateway.drain(run.ctx, "a", drained=True)
        assert await answered(run, gateway, ctx=other) == "b"


async def test_no_upstream_is_probed_that_does_not_declare_it() -> None:
    async with pair() as (run, gateway, ups):
        await answered(run, gateway)
        assert [up.calls for up in ups][1] == []
        assert {call.method for call in ups[0].calls} == {"POST"}
        assert [view.healthy for view in await gateway.upstreams(run.ctx)] == [None, None]


async def test_an_upstream_whose_probes_fail_is_asked_last_until_one_succeeds() -> None:
    async with pair(probe=0.01) as (run, gateway, ups):
        first: Upstream = ups[0]

        async def healthy() -> Any:
            return (await gateway.upstreams(run.ctx))[0].healthy

        await until(healthy)
        assert first.calls[0].path == "/v1/models"
        first.faults = {Fault("failed"): 1.0}

        async def unwell() -> bool:
            return await healthy() is False

        await until(unwell)
        assert "500" in (await gateway.upstreams(run.ctx))[0].fault
        assert await answered(run, gateway) == "b"
        # A probe may be wrong: where nobody else can answer, the upstream is asked all the same.
        first.faults = ()
        await until(healthy)
        assert await answered(run, gateway) == "a"


async def test_the_quickest_of_late_is_asked_first_and_the_others_now_and_then() -> None:
    slow = Reply("A.", pace=0)

    async def lag(number: int) -> None:
        await asyncio.sleep(0.05)

    async with pair(scripts=(Reply("A.", wait=lag), slow), balance="latency") as (run, gateway, _):
        got = Counter([await answered(run, gateway) for _ in range(60)])
        assert got["b"] > 40
        assert got["a"] >= 1
        streams = Counter([await answered(run, gateway, stream=True) for _ in range(20)])
        assert streams["b"] > streams["a"] >= 1


async def test_failures_make_a_quick_model_slow() -> None:
    async def lag(number: int) -> None:
        await asyncio.sleep(0.02)

    async with pair(scripts=("A.", Reply("B.", wait=lag)), balance="latency") as (run, gateway, ups):
        assert await answered(run, gateway) in "ab"
        ups[0].faults = [None, *[Fault("failed")] * 400]
        for _ in range(30):
            assert await answered(run, gateway) in "ab"
        before = len(ups[0].calls)
        for _ in range(20):
            await answered(run, gateway)
        assert len(ups[0].calls) - before <= 6


async def test_the_cheapest_for_the_call_is_asked_first() -> None:
    async with pair(balance="cost") as (run, gateway, _):
        assert {await answered(run, gateway) for _ in range(5)} == {"b"}
        await gateway.drain(run.ctx, "b", drained=True)
        assert await answered(run, gateway) == "a"


async def test_a_balance_that_is_none_is_refused() -> None:
    with pytest.raises(Misconfigured, match="latency"):
        RouteSpec(name="r", primary="a", balance="latencies")  # type: ignore[arg-type]  # as a file may have it
    with pytest.raises(Misconfigured, match="both weights and balance"):
        RouteSpec(name="r", primary="a", balance="cost", weights={"a": 1})
    async with pair() as (run, gateway, _):
        with pytest.raises(InvalidInput):
            spec = RouteSpec(name="r", primary="nobody", balance="cost")
            await gateway.put_route(run.ctx, "r", spec, version=0)
