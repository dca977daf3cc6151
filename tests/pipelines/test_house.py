"""Pipelines in a running system: events begin runs, runs tell of themselves, and a system without any pays nothing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from stanchion import System
from stanchion.core.clock import SystemClock
from stanchion.core.context import Context, Rights
from stanchion.core.settings import HouseSettings
from stanchion.events import Event, Events
from stanchion.pipelines import Pipelines
from stanchion.system.house import House

CTX = Context("default", "user:ada", Rights(roles=frozenset({"admin"})))


@asynccontextmanager
async def served(app: System, folder: Path) -> AsyncIterator[House]:
    settings = HouseSettings.model_validate({"modules": {"enabled": ["events", "pipelines"]}})
    house = await House.open(settings, folder, clock=SystemClock(), environment={}, declared=app)
    await house.start()
    try:
        yield house
    finally:
        await house.close()


async def until(found: Callable[[], bool]) -> None:
    for _ in range(3_000):
        if found():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen in a minute")


async def test_an_event_begins_a_run_once_and_the_run_tells_of_its_end(tmp_path: Path) -> None:
    app = System("shop")
    heard: list[tuple[str, str]] = []

    @app.stage()
    def double(number: int) -> int:
        return number * 2

    @app.pipeline("doubling")
    def doubling(number: int) -> int:
        return double(number)

    doubling.on("number.given", lambda event: event.json()["number"])

    @app.on("run.started", "run.ended")
    async def hear(event: Event) -> None:
        heard.append((event.type, event.json().get("status", "")))

    async with served(app, tmp_path) as house:
        event = Event.of("number.given", "test", {"number": 21})
        for _ in range(2):
            await house.door(Events).publish(CTX, [event])
        await until(lambda: len(heard) == 2)
        pipelines = house.door(Pipelines)
        [run] = await pipelines.list(CTX)
        assert (await pipelines.get(CTX, run.id)).output == 42
        assert run.principal == "user:ada"
        assert sorted(heard) == [("run.ended", "done"), ("run.started", "")]
        [schedule] = await pipelines.schedules(CTX)
        assert (schedule.when, schedule.pipeline) == ("on number.given", "doubling")


async def test_a_handle_starts_runs_of_typed_inputs(tmp_path: Path) -> None:
    app = System("shop")

    @app.stage()
    def shout(words: list[str]) -> str:
        return " ".join(words).upper()

    @app.pipeline("loud")
    def loud(words: list[str]) -> str:
        return shout(words)

    async with served(app, tmp_path) as house:
        run = await loud.start(CTX, ["a", "b"])
        ended = await house.door(Pipelines).wait(CTX, run.id, seconds=60)
        assert ended.output == "A B"


def test_a_system_without_pipelines_loads_no_engine_of_them() -> None:
    program = (
        "import asyncio, sys, tempfile; from pathlib import Path; from stanchion import System;"
        "from stanchion.core.clock import SystemClock; from stanchion.core.settings import HouseSettings;"
        "from stanchion.system.house import House\n"
        "async def main():\n"
        "    settings = HouseSettings.model_validate({'modules': {'enabled': ['pipelines']}})\n"
        "    house = await House.open(settings, Path(tempfile.mkdtemp()), clock=SystemClock(), environment={},"
        " declared=System('none'))\n"
        "    await house.start(); await house.close()\n"
        "asyncio.run(main()); print(*[m for m in sys.modules if m.startswith(('stanchion.pipelines', 'dbos', 'cron'))])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "stanchion.pipelines.module" in loaded
    assert not {"stanchion.pipelines.service", "stanchion.pipelines.backends.sql", "dbos", "cronsim"} & loaded
