"""Killed at any moment, the registry holds what it acknowledged, whole, and nothing half-done."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from stanchion.core.clock import SystemClock
from stanchion.core.security.signing import Signer
from stanchion.core.storage.open import open_blobs, open_database
from stanchion.registry.backends.sql import SqlStore
from stanchion.registry.backends.tables import SCHEMA
from stanchion.registry.packages import Packages, blob_name
from stanchion.registry.seal import Seal
from stanchion.registry.service import RegistryService
from stanchion.registry.watching import Watch
from stanchion.testing.clock import FakeClock
from stanchion.testing.registry_cases import ADA

KILLS = [10, pytest.param(200, marks=pytest.mark.soak)]
CHILD = Path(__file__).with_name("crash_child.py")


def run_and_kill(folder: Path, run: int, chance: random.Random) -> list[list[str]]:
    """What the child acknowledged before it was killed, word by word."""
    lines = chance.randrange(1, 12)
    with subprocess.Popen(
        [sys.executable, str(CHILD), str(folder), f"run{run}"], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        told = [child.stdout.readline() for _ in range(lines)]
        # No condition is waited for: this is the random moment.
        time.sleep(chance.random() * 0.02)
        child.kill()
        told += child.stdout.readlines()
    assert told[0] == "ready\n", f"the child did not start in run {run}"
    # A line that the kill cut off was not acknowledged.
    return [line.split() for line in told if line.endswith("\n")]


async def check(folder: Path, acknowledged: list[list[str]]) -> None:
    database, blobs = open_database(f"sqlite://{folder}/state.db"), open_blobs((folder / "blobs").as_uri())
    await database.prepare(SCHEMA)
    store, clock = SqlStore(database), FakeClock(SystemClock().now() + timedelta(hours=2))
    registry = RegistryService(
        store=store,
        packages=Packages(store, blobs, clock=clock, most_bytes=1 << 30, abandoned_after=timedelta(hours=1)),
        seal=Seal(Signer.load_or_create(folder / "signing.key")),
        watch=Watch(store, poll_seconds=1),
        clock=clock,
        development=False,
    )
    await registry.start()
    versions = await registry.versions(ADA, "churn", limit=100)
    stages = [version.stage for version in versions]
    assert stages.count("production") <= 1
    needed = set()
    for version in versions:
        assert await registry.resolve(ADA, f"churn@{version.version}") == version
        for file in version.files:
            needed.add(blob_name("t1", file.sha256))
            pieces = [p async for p in registry.artifact(ADA, "churn", version.version, file.name)]
            assert len(b"".join(pieces)) == file.size
    [summary] = await registry.models(ADA)
    if summary.versions <= 100:
        assert {words[1] for words in acknowledged if words[0] == "registered"} <= {v.version for v in versions}
        assert {name async for name in blobs.list()} == needed, "a sweep leaves what versions need, and nothing else"
    in_production = [words[1] for words in acknowledged if words[0] == "production"]
    if in_production:
        # At most one more change was committed than was acknowledged.
        done = [p for p in await registry.promotions(ADA, "churn") if p.to == "production" and p.status == "done"]
        assert in_production[-1] in (done[0].version, done[1].version if len(done) > 1 else None)
        assert summary.production == done[0].version
    await registry.stop()
    await blobs.close()
    await database.close()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kills", KILLS)
async def test_kill_9_leaves_nothing_half_done(tmp_path: Path, kills: int) -> None:
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    acknowledged: list[list[str]] = []
    for run in range(kills):
        acknowledged += run_and_kill(tmp_path, run, chance)
        if any(words[0] == "registered" for words in acknowledged):
            await check(tmp_path, acknowledged)
    assert any(words[0] == "production" for words in acknowledged), f"seed {seed} killed every run too early"
