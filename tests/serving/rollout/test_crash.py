"""Killed at random moments again and again, a release is never half-done, and what was acknowledged holds."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

SAMPLE, SOAK = 5, 100
ROOT = Path(__file__).parents[2]


def graphs() -> Any:
    """The maker of small versions that the tests of the whole system use."""
    found = importlib.util.spec_from_file_location("graphs", ROOT / "system" / "graphs.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def begun(folder: Path) -> subprocess.Popen[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("STANCHION_")}
    environment["STANCHION_SERVING__ROLLOUT_POLL_SECONDS"] = "0.01"
    # A dead process's lease must not hold up the next one.
    environment["STANCHION_SERVING__ROLLOUT_LEASE_SECONDS"] = "1"
    worker = Path(__file__).with_name("crash_worker.py")
    return subprocess.Popen(
        [sys.executable, str(worker), str(folder)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def killed(folder: Path, seconds: float) -> set[tuple[str, str]]:
    """Let a process work for so long after it has found everything in order, and kill it; what it acknowledged."""
    process = begun(folder)
    assert process.stdout is not None
    assert process.stderr is not None
    told: list[dict[str, Any]] = []
    ready = threading.Event()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            told.append(json.loads(line))
            ready.set()

    reader = threading.Thread(target=read)
    reader.start()
    while not ready.wait(0.05):
        if process.poll() is not None:
            raise AssertionError(process.stderr.read()[-4000:])
    # No condition is waited for: this is the random moment.
    time.sleep(seconds)
    alive = process.poll() is None
    process.kill()
    process.wait()
    reader.join()
    errors = process.stderr.read()
    assert alive, errors[-4000:]
    return {(each["rollout"], each["state"]) for each in told if each["event"] == "acknowledged"}


def stored(folder: Path) -> set[tuple[str, str]]:
    import sqlite3

    with sqlite3.connect(folder / "data" / "state.db") as link:
        return set(link.execute("SELECT rollout, state FROM serving_rollout_events"))


def series(folder: Path, kills: int) -> int:
    graphs().prepare(folder, versions=3)
    chance = random.Random(5)
    acknowledged: set[tuple[str, str]] = set()
    for _ in range(kills):
        acknowledged |= killed(folder, chance.uniform(0.0, 1.2))
        assert acknowledged <= stored(folder)
    killed(folder, 0.0)
    return len(acknowledged)


def test_a_sample_of_kills_leaves_no_release_half_done(tmp_path: Path) -> None:
    assert series(tmp_path, SAMPLE) > 0


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_hundred_kills_leave_no_release_half_done(tmp_path: Path) -> None:
    assert series(tmp_path, SOAK) > 100
