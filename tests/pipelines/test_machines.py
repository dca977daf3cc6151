"""Real workers over one PostgreSQL, each with a data folder of its own: one is killed, others take its runs over."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context, Rights
from stanchion.core.declaration import load_declarations
from stanchion.core.settings import HouseSettings
from stanchion.core.storage import Database
from stanchion.core.storage.open import open_database
from stanchion.pipelines import Pipelines
from stanchion.pipelines.module import PipelineSettings
from stanchion.system.house import House

SYSTEM = Path(__file__).with_name("machines.py")
CTX = Context("default", "user:ada", Rights(roles=frozenset({"admin"})))
LEASE = 6.0
"""Longer than a worker that lives may have to wait for its turn: else the others take its runs too."""
SLOW = 40.0
"""Seconds that a slow machine may need besides what is declared: a worker's threads have to be given their turn."""
RUNS, ROOM = 6, 3


@pytest.fixture
def settings(postgres_url: str, tmp_path: Path) -> HouseSettings:
    (tmp_path / "stanchion.toml").write_text(
        f'modules.enabled = ["pipelines"]\n'
        f'backend.sql = {{use = "postgres", url = "{postgres_url}"}}\n'
        f'backend.blobs = {{use = "local", url = "{(tmp_path / "blobs").as_uri()}"}}\n'
        f'backend.checkpoints = {{use = "local", url = "{(tmp_path / "checkpoints").as_uri()}"}}\n'
        f"pipelines = {{lease_seconds = {LEASE}, concurrency = {ROOM}, poll_seconds = 0.1}}\n"
    )
    return HouseSettings.model_validate(
        {
            "modules": {"enabled": ["pipelines"]},
            "backend": {
                "sql": {"use": "postgres", "url": postgres_url},
                "blobs": {"use": "local", "url": (tmp_path / "blobs").as_uri()},
                "checkpoints": {"use": "local", "url": (tmp_path / "checkpoints").as_uri()},
            },
        }
    )


@pytest.fixture
async def effects(postgres_url: str) -> AsyncIterator[Database]:
    """Where effects are counted."""
    opened = open_database(postgres_url, durable=False)
    await opened.write(CTX, lambda c: c.execute(text("CREATE TABLE effects (number INT)")) and None)
    yield opened
    await opened.close()


@pytest.fixture
async def house(settings: HouseSettings, tmp_path: Path) -> AsyncIterator[House]:
    """The process that asks: it works on nothing."""
    opened = await House.open(
        settings,
        tmp_path / "asking",
        clock=SystemClock(),
        environment={},
        declared=load_declarations(SYSTEM),
        module_settings={"pipelines": PipelineSettings.model_validate({"work": False})},
    )
    await opened.start()
    yield opened
    await opened.close()


@contextmanager
def worker(folder: Path, name: str, *prefix: str) -> Iterator[subprocess.Popen[str]]:
    """`stanchion worker` with a data folder of its own, which begins with the keys of the first and no more."""
    data = folder / name
    shutil.copytree(folder / "asking" / "keys", data / "keys")
    command = [*prefix, sys.executable, "-m", "stanchion", "worker", str(SYSTEM), "--queues", "heavy"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("STANCHION_")}
    process = subprocess.Popen(
        [*command, "--data", str(data), "--json"],
        cwd=folder,
        env={**environment, "STANCHION_TEST_PLACE": str(folder), "STANCHION_TEST_NAME": name},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert '"ready"' in process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


async def until(found: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.02)


def begun(folder: Path) -> Counter[str]:
    """How many times each worker began the stage."""
    return Counter(path.name.split("-")[1] for path in folder.glob("began-*"))


def elsewhere() -> tuple[str, ...]:
    """What puts a process on another machine, as far as others can see: they do not see its number."""
    prefix = ("unshare", "--pid", "--fork", "--kill-child")
    tried = shutil.which("unshare") and subprocess.run([*prefix, "true"], capture_output=True, check=False)
    if not tried or tried.returncode != 0:
        pytest.skip("no namespace of processes can be made here")
    return prefix


@pytest.mark.timeout(300)
@pytest.mark.parametrize("where", ["same machine", "another machine"])
async def test_a_killed_workers_runs_are_taken_over_in_the_declared_time(
    house: House, effects: Database, tmp_path: Path, where: str, record_property: Callable[[str, object], None]
) -> None:
    pipelines = house.door(Pipelines)
    prefix = elsewhere() if where == "another machine" else ()
    with worker(tmp_path, "first", *prefix) as first, worker(tmp_path, "second"):
        runs = [await pipelines.begin(CTX, "heavy", number) for number in range(RUNS)]
        left = await pipelines.begin(CTX, "light", 99)
        await until(lambda: begun(tmp_path) == {"first": ROOM, "second": ROOM})
        with worker(tmp_path, "third"):
            first.kill()
            killed = time.monotonic()
            await until(lambda: begun(tmp_path)["third"] == ROOM)
            taken = time.monotonic() - killed
            (tmp_path / "go").touch()
            ended = [await pipelines.wait(CTX, run.id, seconds=60) for run in runs]
        assert [(run.status, run.output) for run in ended] == [("done", number * 2) for number in range(RUNS)]
        assert sorted(run.recoveries for run in ended) == [0] * ROOM + [1] * ROOM
        assert (await pipelines.get(CTX, left.id)).status == "queued"
    rows = await effects.read(lambda c: c.execute(text("SELECT number FROM effects ORDER BY number")).scalars().all())
    assert list(rows) == list(range(RUNS))
    record_property("seconds_to_take_over", taken)
    # The lease, a quarter of it until the next look.
    assert taken < LEASE * 1.25 + SLOW
