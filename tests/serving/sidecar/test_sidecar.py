"""A sidecar in a whole system: flag, time limit, guard, figures; and a client in front of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from pydantic import BaseModel

from stanchion import Context, System
from stanchion.core.errors import InvalidInput, NotAllowed, NotFound
from stanchion.core.flags import Flag, Flags
from stanchion.core.security.contract import Keys
from stanchion.serving import GuardBand, Serving, Settled, SidecarClient
from stanchion.testing import Offline, offline

FLAG = Flag(key="ai", variants={"on": True, "off": False}, default="off", off="off", split={"on": 50, "off": 50})


class Ask(BaseModel):
    price: float
    sure: float = 0.9
    act: str = ""


class Told(BaseModel):
    price: float
    sure: float


def system(hang: asyncio.Event, limit: float = 0.5) -> Any:
    app = System("shop")

    @app.model("pricing")
    async def pricing(items: Sequence[Ask], ctx: Context | None = None) -> list[Told]:
        assert ctx is not None
        for item in items:
            if item.act == "hang":
                while not hang.is_set():
                    try:
                        await hang.wait()
                    except asyncio.CancelledError:
                        # A model that does not let itself be stopped.
                        continue
            if item.act == "fail":
                raise RuntimeError("broken")
        return [Told(price=item.price, sure=item.sure) for item in items]

    app.sidecar(
        "price", pricing, value="price", confidence="sure", flag=FLAG,
        guard=GuardBand(min_confidence=0.8, max_deviation=0.15), limit=limit,
    )  # fmt: skip
    return app


@asynccontextmanager
async def running(limit: float = 0.5, *, on: bool = True) -> AsyncIterator[tuple[Offline, Serving, asyncio.Event]]:
    hang = asyncio.Event()
    async with offline(system(hang, limit)) as house:
        if on:
            await switched(house, 100)
        yield house, house.door(Serving), hang
        hang.set()


async def switched(house: Offline, percent: float) -> None:
    from dataclasses import replace

    flags = house.door(Flags)
    present = next(flag for flag in await flags.list(house.ctx) if flag.key == "ai")
    await flags.set(house.ctx, "ai", replace(present, split={"on": percent, "off": 100 - percent}))


@pytest.mark.parametrize(
    ("features", "source", "reason", "value"),
    [
        ({"price": 110.0}, "ai", "ai", 110.0),
        ({"price": 116.0}, "base", "outside_band", 100.0),
        ({"price": 110.0, "sure": 0.8}, "base", "low_confidence", 100.0),
        ({"price": 110.0, "act": "fail"}, "base", "error", 100.0),
        ({"price": "x"}, "base", "error", 100.0),
        ({}, "base", "error", 100.0),
    ],
)
async def test_the_answer_says_where_it_is_from_and_why(
    features: dict[str, Any], source: str, reason: str, value: float
) -> None:
    async with running() as (house, serving, _):
        advice = await serving.advise(house.ctx, "price", features, 100.0, unit="c1")
    assert (advice.source, advice.reason, advice.value, advice.base) == (source, reason, value, 100.0)
    assert bool(advice.detail) is (reason != "ai")


async def test_a_model_that_hangs_and_cannot_be_stopped_holds_nobody_up() -> None:
    async with running(limit=0.05) as (house, serving, _):
        async with asyncio.timeout(60):
            advice = await serving.advise(house.ctx, "price", {"price": 110.0, "act": "hang"}, 100.0)
        assert (advice.source, advice.reason, advice.value) == ("base", "timeout", 100.0)


async def test_the_flag_decides_by_unit_always_the_same_and_can_be_killed() -> None:
    async with running(on=False) as (house, serving, _):

        async def on(unit: str) -> bool:
            return (await serving.advise(house.ctx, "price", {"price": 110.0}, 100.0, unit=unit)).reason == "ai"

        units = [f"c{n}" for n in range(200)]
        half = {unit for unit in units if await on(unit)}
        assert 70 < len(half) < 130
        assert half == {unit for unit in units if await on(unit)}
        await switched(house, 80)
        assert half < {unit for unit in units if await on(unit)}, "a rollout that grows takes nobody back"
        await house.door(Flags).kill(house.ctx, "ai", True)
        assert not any([await on(unit) for unit in units])


async def test_both_values_and_what_came_of_them_are_kept() -> None:
    async with running() as (house, serving, _):
        from dataclasses import replace

        for number, price in enumerate((110.0, 90.0, 150.0)):
            ctx = replace(house.ctx, request_id=f"r{number}")
            assert (await serving.advise(ctx, "price", {"price": price}, 100.0)).request_id == f"r{number}"
        told = [Settled("r0", 1.0), Settled("r1", 0.0), Settled("nobody", 1.0)]
        assert await serving.settle(house.ctx, "price", told) == 2
        assert await serving.settle(house.ctx, "price", told) == 2
        report = await serving.sidecar(house.ctx, "price")
        assert report.reasons == {"ai": 2, "outside_band": 1}
        assert (report.by_reason["ai"].settled, report.by_reason["ai"].mean_outcome) == (2, 0.5)
        assert report.deviation == pytest.approx((0.1 - 0.1 + 0.5) / 3)
        assert [each.sidecar for each in await serving.sidecars(house.ctx)] == ["price"]


async def test_what_is_not_there_or_not_permitted_is_refused() -> None:
    async with running() as (house, serving, _):
        with pytest.raises(NotFound):
            await serving.advise(house.ctx, "nowhere", {}, 1)
        with pytest.raises(NotFound):
            await serving.advise(house.caller("admin", tenant="other"), "price", {}, 1)
        with pytest.raises(NotAllowed):
            await serving.advise(house.caller(), "price", {}, 1)
        with pytest.raises(InvalidInput):
            await serving.settle(house.ctx, "price", [Settled("r", float("nan"))])
        caller = house.caller("predictor")
        assert (await serving.advise(caller, "price", {"price": 101.0}, 100.0)).source == "ai"


@asynccontextmanager
async def listening(house: Offline) -> AsyncIterator[tuple[str, uvicorn.Server]]:
    """The house's application on a port of this machine."""
    import socket

    from stanchion.app.http.build import build_app

    app = build_app(house.house, console=False)
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, access_log=False))
    bound = socket.create_server(("127.0.0.1", 0))
    task = asyncio.create_task(server.serve(sockets=[bound]))
    while not server.started:
        await asyncio.sleep(0)
    try:
        yield f"http://127.0.0.1:{bound.getsockname()[1]}", server
    finally:
        server.should_exit = True
        await task


async def key_of(house: Offline, *scopes: str) -> str:
    made = await house.door(Keys).create(house.ctx, name="shop", roles=["predictor"], scopes=scopes, ttl_days=None)
    return made.secret


async def test_a_client_asks_over_http_and_falls_back_when_the_server_is_gone() -> None:
    async with running() as (house, serving, _):
        key = await key_of(house, "serving:settle")
        async with listening(house) as (url, _server), SidecarClient(url, "price", key=key, limit=30.0) as client:
            advice = await client.advise({"price": 110.0}, 100.0, unit="c1")
            assert (advice.source, advice.value, advice.version) == ("ai", 110.0, "declared")
            assert await client.settle(advice.request_id, 1.0)
            assert not await client.settle("nobody", 1.0)
            dear = await client.advise({"price": 116.0}, lambda: 100.0, unit="c1")
            assert (dear.source, dear.reason, dear.value) == ("base", "outside_band", 100.0)
            async with SidecarClient(url, "price", key=key, limit=30.0, guard=GuardBand(max_deviation=0.05)) as strict:
                own = await strict.advise({"price": 110.0}, 100.0, unit="c1")
                assert (own.source, own.reason, own.value) == ("base", "outside_band", 100.0)
            async with SidecarClient(url, "price", key="wrong", limit=30.0) as stranger:
                assert (await stranger.advise({"price": 110.0}, 100.0, unit="c1")).reason == "error"
        assert (await serving.sidecar(house.ctx, "price")).by_reason["ai"].settled == 1
        async with SidecarClient(url, "price", key=key, limit=30.0) as late:
            for _ in range(6):
                gone = await late.advise({"price": 110.0}, 100.0, unit="c1")
                assert (gone.source, gone.reason, gone.value) == ("base", "error", 100.0)
            assert "left alone" in gone.detail


async def test_a_client_waits_no_longer_than_its_limit() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, SidecarClient(f"http://127.0.0.1:{port}", "price", key="k", limit=0.05) as client:
        async with asyncio.timeout(60):
            advice = await client.advise({"price": 110.0}, 100.0, unit="c1")
    assert (advice.source, advice.reason, advice.value) == ("base", "timeout", 100.0)
