"""The pricing example: its experiment, its confidence, its guard, and the shop that outlives Stanchion."""

from __future__ import annotations

import asyncio
import socket
import sys
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2
import numpy
import pytest
import uvicorn

from stanchion.app.http.build import build_app
from stanchion.core.declaration import load_declarations
from stanchion.core.flags import Flags
from stanchion.core.security.contract import Keys
from stanchion.testing import offline

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "dynamic_pricing"
ROOM = {
    "room_id": "r1", "base_price": 120.0, "month": 8, "weekend": True, "days_ahead": 5, "searches": 30, "rooms_left": 6,
}  # fmt: skip
WISH = {
    "customer_id": "c1",
    "channel": "staff",
    "room": "double",
    "night": "2026-08-08",
    "searches": 30,
    "rooms_left": 6,
}


@pytest.fixture(scope="module")
def declared() -> Any:
    return load_declarations(FOLDER / "system.py")


@pytest.fixture(scope="module")
def system(declared: Any) -> ModuleType:
    return sys.modules["stanchion_system_file"]


def test_the_experiment_is_the_same_for_the_same_seed_and_prices_hang_on_nothing(declared: Any) -> None:
    nights = sys.modules["nights"]
    one, two = nights.experiment(7, 5_000), nights.experiment(7, 5_000)
    assert one.rows.equals(two.rows)
    for name in ("searches", "rooms_left", "days_ahead"):
        assert abs(numpy.corrcoef(one.rows[name], one.rows["price_ratio"])[0, 1]) < 0.05
    dear = one.rows["price_ratio"] > 1.3
    assert one.target[dear].mean() < one.target[~dear].mean() / 2


def test_confidence_is_the_chance_to_earn_no_less_than_the_base_price(system: ModuleType) -> None:
    room = system.Room(**ROOM)
    flat = system._priced(room, [0.9] * len(system.GRID))
    assert (flat.price, flat.confidence) == (144.0, 1.0)
    steep = system._priced(room, [1.0 if ratio <= 1.0 else 0.0 for ratio in system.GRID])
    assert (steep.price, steep.confidence) == (120.0, 1.0)
    low = system._priced(room, [1.0 if ratio <= 0.9 else 0.05 for ratio in system.GRID])
    assert (low.price, low.confidence) == (108.0, 0.95)


def bound() -> tuple[socket.socket, str]:
    held = socket.create_server(("127.0.0.1", 0))
    return held, f"http://127.0.0.1:{held.getsockname()[1]}"


async def served(app: Any, held: socket.socket) -> tuple[uvicorn.Server, asyncio.Task[None]]:
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, access_log=False))
    task = asyncio.create_task(server.serve(sockets=[held]))
    while not server.started:
        await asyncio.sleep(0)
    return server, task


@pytest.mark.timeout(300)
async def test_the_shop_asks_for_a_price_and_has_one_when_stanchion_is_gone(declared: Any, system: ModuleType) -> None:
    import shop

    async with offline(declared, train=["booking"], file=FOLDER / "system.py") as running:
        advice = await system.sidecar.advise(running.ctx, ROOM, 120.0, unit="c1", attributes={"channel": "staff"})
        assert advice.reason in ("ai", "low_confidence", "outside_band")
        if advice.source == "ai":
            assert abs(float(str(advice.value)) - 120.0) <= 18.0
            assert advice.confidence is not None
            assert advice.confidence > 0.8
        agency = await system.sidecar.advise(running.ctx, ROOM, 120.0, unit="c1", attributes={"channel": "agency"})
        assert (agency.source, agency.reason) == ("base", "flag_off")
        made = await running.door(Keys).create(
            running.ctx, name="shop", roles=["predictor"], scopes=["serving:settle"], ttl_days=None
        )
        held, url = bound()
        server, task = await served(build_app(running.house, console=False), held)
        hotel = shop.create(url, made.secret, limit=5.0, today=date(2026, 8, 3))
        async with hotel.router.lifespan_context(hotel):
            transport = httpx2.ASGITransport(app=hotel)
            async with httpx2.AsyncClient(transport=transport, base_url="http://hotel") as guest:
                quote = (await guest.post("/quotes", json=WISH)).json()
                assert quote["reason"] in ("ai", "low_confidence", "outside_band")
                noted = await guest.post("/bookings", json={"request_id": quote["request_id"], "revenue": 120.0})
                assert noted.json() == {"noted": True}
                await running.door(Flags).kill(running.ctx, "ai-prices", True)
                killed = (await guest.post("/quotes", json=WISH)).json()
                assert (killed["source"], killed["reason"], killed["price"]) == ("base", "flag_off", 132.0)
                server.should_exit = True
                await task
                for _ in range(5):
                    alone = await guest.post("/quotes", json=WISH)
                    assert alone.status_code == 200
                    assert (alone.json()["source"], alone.json()["price"]) == ("base", 132.0)
