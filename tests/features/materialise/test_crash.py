"""Killed at any moment, a materialisation resumes where it stopped; nothing is lost, nothing counts twice."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from stanchion.testing.clock import FakeClock
from tests.features.materialise.running import NOW, payments, running, write

CHILD = Path(__file__).with_name("crash_child.py")
ROOT = Path(__file__).resolve().parents[3]


def run(folder: Path, number: int, how: str, chance: random.Random | None) -> list[list[str]]:
    """What a child told; with `chance` it is killed at some moment, without it finishes."""
    command = [sys.executable, str(CHILD), str(folder), str(number), how]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        told = []
        if chance is not None:
            for _ in range(chance.randrange(1, 8)):
                told.append(child.stdout.readline())
            # No condition is waited for: this is the random moment.
            time.sleep(chance.random() * 0.02)
            child.kill()
        told += child.stdout.readlines()
    return [line.split() for line in told if line.endswith("\n")]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("how", ["catch-up", "backfill"])
@pytest.mark.parametrize("kills", [2, pytest.param(100, marks=pytest.mark.soak)])
async def test_kill_9_loses_nothing_and_doubles_nothing(tmp_path: Path, kills: int, how: str) -> None:
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    rows = payments(1_500)
    clean, killed, number = tmp_path / "clean", tmp_path / "killed", 0
    clean.mkdir()
    write(clean, rows)
    async with running(clean, FakeClock(NOW)) as made:
        await made.run()
        whole = await made.read()
    assert sum(found.values["count_1d"] for found in whole.values() if found.status == "present") > 400
    done = 0
    while done < kills:
        folder = killed / str(number)
        folder.mkdir(parents=True)
        write(folder, rows)
        partitions: list[str] = []
        while True:
            number += 1
            told = run(folder, number, how, chance if done < kills else None)
            finished = told[-1:] == [["finished"]]
            mine = [words[1] for words in told if words[0] == "done"]
            # What was told to be done is done: no later run does it again.
            assert not set(mine) & set(partitions), f"seed {seed}"
            partitions += mine
            if finished:
                break
            done += 1
        # Read at the time of the last run: for earlier moments a writer keeps no more than a minute's worth.
        at = NOW + timedelta(seconds=61 * number)
        async with running(folder, FakeClock(at)) as made, running(clean, FakeClock(at)) as right:
            assert await made.read(at) == await right.read(at), f"seed {seed}"
