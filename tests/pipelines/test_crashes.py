"""Processes die and stop at random moments: runs go on elsewhere, effects happen once, late results are refused."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context, Rights
from stanchion.core.storage import Database
from stanchion.core.storage.open import open_blobs, open_database
from stanchion.pipelines.backends.tables import SCHEMA
from stanchion.testing.pipelines import pipeline_service

from .child import app

CHILD = Path(__file__).with_name("child.py")
SAMPLE, SOAK = 5, 100
CTX = Context("acme", "user:ada", Rights(roles=frozenset({"developer"})))


@dataclass
class Scene:
    """A database, a folder for effects outside of it, and the workers over both."""

    url: str
    folder: Path
    database: Database
    service: Any
    workers: list[subprocess.Popen[str]] = field(default_factory=list)

    def worker(self, *, lease: float = 30.0) -> subprocess.Popen[str]:
        """A worker process that has begun to claim."""
        command = [sys.executable, str(CHILD), self.url, str(self.folder), str(lease)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.workers.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    async def effects(self) -> list[tuple[int, int]]:
        """What was written by SQL, sorted."""
        rows = await self.database.read(lambda c: c.execute(text("SELECT at, number FROM effects")).all())
        return sorted((row.at, row.number) for row in rows)

    def kept(self) -> dict[str, str]:
        """What was written outside, by step."""
        return {path.name.partition("-")[2]: path.read_text() for path in self.folder.glob("*-odd*")}


@pytest.fixture(params=["sqlite", "postgres"])
async def scene(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Scene]:
    url = f"sqlite://{tmp_path}/runs.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    database = open_database(url, durable=False)
    await database.prepare(SCHEMA)
    await database.write(CTX, lambda c: c.execute(text("CREATE TABLE effects (at INTEGER, number INTEGER)")) and None)
    blobs = open_blobs((tmp_path / "blobs").as_uri())
    service = await pipeline_service(database, blobs, app, clock=SystemClock(), work=False)
    found = Scene(url, tmp_path, database, service)
    yield found
    for process in found.workers:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    await service.stop()
    await database.close()


def undisturbed(start: int) -> tuple[int, list[tuple[int, int]]]:
    """The output of a run that nobody disturbs, and its effects, as plain arithmetic."""
    found, effects = start, []
    for at in range(6):
        found = found + at
        effects.append((at, found))
        found = found * 3 + at
    return found, effects


async def _killed_again_and_again(scene: Scene, kills: int) -> None:
    chance = random.Random(7)
    output, effects = undisturbed(2)
    run = await scene.service.begin(CTX, "line", 2)
    disturbed = 0
    for _ in range(kills):
        process = scene.worker()
        await asyncio.sleep(chance.uniform(0.0, 0.12))
        process.kill()
        process.wait()
        disturbed += (await scene.service.get(CTX, run.id)).status != "done"
        if disturbed and (await scene.service.get(CTX, run.id)).status == "done":
            # It got through: the kills that are left are for another.
            assert (await scene.service.get(CTX, run.id)).output == output
            assert await scene.effects() == effects
            await scene.database.write(CTX, lambda c: c.execute(text("DELETE FROM effects")) and None)
            for path in scene.folder.glob("*-odd*"):
                path.unlink()
            run = await scene.service.begin(CTX, "line", 2)
    scene.worker()
    done = await scene.service.wait(CTX, run.id, seconds=60)
    assert (done.status, done.output) == ("done", output)
    assert await scene.effects() == effects
    assert len(scene.kept()) == 6
    steps = Counter(stage.step for stage in await scene.service.stages(CTX, run.id))
    assert len(steps) == 12
    assert set(steps.values()) == {1}


async def test_a_run_killed_at_random_moments_ends_as_an_undisturbed_one_with_each_effect_once(scene: Scene) -> None:
    await _killed_again_and_again(scene, SAMPLE)


@pytest.mark.soak
@pytest.mark.timeout(1_200)
async def test_a_run_killed_a_hundred_times_ends_as_an_undisturbed_one(scene: Scene) -> None:
    await _killed_again_and_again(scene, SOAK)


def _until(found: Callable[[], bool], seconds: float = 60.0) -> float:
    began = time.monotonic()
    while not found():
        assert time.monotonic() - began < seconds, "it did not happen in time"
        time.sleep(0.02)
    return time.monotonic() - began


async def test_a_stopped_process_loses_its_runs_within_the_lease_and_its_late_result_is_refused(scene: Scene) -> None:
    lease = 2.0
    zombie = scene.worker(lease=lease)
    run = await scene.service.begin(CTX, "held", 1.0)
    began = lambda: len(list(scene.folder.glob("began-*")))  # noqa: E731
    _until(lambda: began() == 1)
    os.kill(zombie.pid, signal.SIGSTOP)
    scene.worker(lease=lease)
    taken = _until(lambda: began() == 2)
    done = await scene.service.wait(CTX, run.id, seconds=60)
    assert (done.status, done.output, done.recoveries) == ("done", 2, 1)
    os.kill(zombie.pid, signal.SIGCONT)
    refused = 0
    for _ in range(600):
        refused = (await scene.service.get(CTX, run.id)).refused
        if refused:
            break
        await asyncio.sleep(0.1)
    after = await scene.service.get(CTX, run.id)
    assert (after.status, after.output, after.refused) == ("done", 2, 1)
    assert await scene.effects() == [(100, 1)]
    # The lease, a quarter of it until the next look, and what a slow machine needs besides.
    assert taken < lease * 1.5 + 20


async def test_runs_of_a_process_that_is_gone_go_on_at_once_in_the_next_one_of_the_machine(scene: Scene) -> None:
    first = scene.worker(lease=3_000.0)
    runs = [await scene.service.begin(CTX, "held", 0.3) for _ in range(3)]
    _until(lambda: len(list(scene.folder.glob("began-*"))) == 3)
    first.kill()
    first.wait()
    scene.worker(lease=3_000.0)
    for run in runs:
        done = await scene.service.wait(CTX, run.id, seconds=60)
        assert (done.status, done.recoveries) == ("done", 1)
    assert await scene.effects() == [(100, 1)] * 3
