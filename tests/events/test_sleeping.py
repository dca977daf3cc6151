"""Events of a system that declares none."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from stanchion import System
from stanchion.core.clock import SystemClock
from stanchion.core.context import Context, Rights, system_context
from stanchion.core.settings import HouseSettings
from stanchion.events import Event, Events
from stanchion.events import sleeping as sleeping_module
from stanchion.events.outbox import stage
from stanchion.events.sleeping import Sleeping
from stanchion.system.house import House
from stanchion.testing.event_contract import eventually

CTX = Context("default", "user:ada", Rights(roles=frozenset({"admin"}), scopes=frozenset({"events:*"})))


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[House]:
    settings = HouseSettings.model_validate({"modules": {"enabled": ["events"]}})
    house = await House.open(settings, folder, clock=SystemClock(), environment={}, declared=System("none"))
    await house.start()
    try:
        yield house
    finally:
        await house.close()


def asleep(house: House) -> bool:
    service = house._services["events"]
    assert isinstance(service, Sleeping)
    return service._service is None


async def test_a_call_wakes_it_and_what_it_keeps_wakes_it_at_the_next_start(tmp_path: Path) -> None:
    async with served(tmp_path) as house:
        assert asleep(house)
        await house.door(Events).publish(CTX, [Event(type="order.placed", source="/shop")])
        assert not asleep(house)
    async with served(tmp_path) as house:
        assert not asleep(house)
        assert [each.type for each in await house.door(Events).recent(CTX)] == ["order.placed"]


async def test_news_that_are_staged_beside_it_wake_it(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sleeping_module, "LOOK_SECONDS", 0.01)
    async with served(tmp_path) as house:
        database = house.foundation.stores.state
        ctx = system_context("default", task="test")
        await database.write(ctx, lambda c: stage(c, CTX, [Event(type="run.started", source="/runs")]))

        async def slept() -> bool:
            return asleep(house)

        assert not await eventually(slept, lambda still: not still)


async def test_a_webhook_wakes_it_at_the_next_start(tmp_path: Path) -> None:
    from stanchion.events import HookSpec

    async with served(tmp_path) as house:
        await house.door(Events).put_hook(CTX, HookSpec(name="in", direction="in", type="paid"))
    async with served(tmp_path) as house:
        assert not asleep(house)


async def test_a_caller_who_leaves_while_it_wakes_leaves_no_half_of_it(tmp_path: Path) -> None:
    begun, may, told = asyncio.Event(), asyncio.Event(), []

    class Slow:
        async def start(self) -> None:
            begun.set()
            await may.wait()
            told.append("start")

        async def stop(self) -> None:
            told.append("stop")

        async def recent(self, ctx: Context) -> tuple[()]:
            return ()

    async def build() -> Any:
        told.append("build")
        return Slow()

    unused: Any = None
    service: Any = Sleeping(build, unused)
    leaving = asyncio.create_task(service.recent(CTX))
    await begun.wait()
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    may.set()
    assert await service.recent(CTX) == ()
    await service.stop()
    assert told == ["build", "start", "stop"]


def test_asleep_it_loads_no_service() -> None:
    program = (
        "import asyncio, sys, tempfile; from pathlib import Path; from stanchion import System;"
        "from stanchion.core.clock import SystemClock; from stanchion.core.settings import HouseSettings;"
        "from stanchion.system.house import House\n"
        "async def main():\n"
        "    settings = HouseSettings.model_validate({'modules': {'enabled': ['events']}})\n"
        "    house = await House.open(settings, Path(tempfile.mkdtemp()), clock=SystemClock(), environment={},"
        " declared=System('none'))\n"
        "    await house.start(); await house.close()\n"
        "asyncio.run(main()); print(*[m for m in sys.modules if m.startswith('stanchion.events')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "stanchion.events.sleeping" in loaded
    assert not {"stanchion.events.service", "stanchion.events.building", "stanchion.events.workers.feed"} & loaded
