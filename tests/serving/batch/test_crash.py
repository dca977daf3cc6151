"""Killed at any moment and run again, a job gives the very output that it gives when nobody kills it."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from batch_bench import ADA, MODEL, opened, read, rows, write_csv, write_parquet

KILLS = [5, pytest.param(100, marks=pytest.mark.soak)]
CHILD = Path(__file__).with_name("crash_child.py")
ROWS, CHUNK = 4_000, 100


def run(folder: Path, source: str, output: str, chance: random.Random | None) -> bool:
    """Run the job, to its end or to a random moment; whether it said that it is done."""
    after = 0 if chance is None else chance.randrange(0, 12)
    with subprocess.Popen(
        [sys.executable, str(CHILD), str(folder), source, output],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        if chance is not None:
            for _ in range(after):
                child.stdout.readline()
            # No condition is waited for: this is the random moment.
            time.sleep(chance.random() * (0.02 if after else 1.2))
            child.kill()
        told = child.stdout.read()
        errors = child.stderr.read()
    assert chance is not None or child.returncode == 0, errors
    return "done" in told


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kills", KILLS)
async def test_kill_9_loses_and_doubles_nothing(tmp_path: Path, kills: int) -> None:
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    given = rows(ROWS)
    for place in (5, 1234, 1235, 3999):
        given[place]["months"] = -1
    async with opened(tmp_path) as bench:
        await bench.register()
        write_parquet(bench.files / "in.parquet", given)
        write_csv(bench.files / "in.csv", given)
        whole = await bench.run(bench.order("in.parquet", "whole.parquet"))
        files = bench.files
    expected, bad = read(files / "whole.parquet"), read(files / "whole.quarantine.parquet")
    assert len(expected) == ROWS - 4
    killed, job, source = 0, 0, "in.parquet"
    while killed < kills:
        output = f"out{job}.parquet"
        done = run(tmp_path, source, output, chance)
        killed += 1
        exists = (files / output).exists()
        if exists:
            # Only a whole output ever has the name, even if the process died before it could say so.
            assert read(files / output) == expected, f"seed {seed}"
        assert exists or not done
        if done:
            job, source = job + 1, "in.csv" if source == "in.parquet" else "in.parquet"
    output = f"out{job}.parquet"
    run(tmp_path, source, output, None)
    assert read(files / output) == expected, f"seed {seed}"
    found = read(files / f"out{job}.quarantine.parquet")
    assert [(r["row_number"], r["problems"]) for r in found] == [(r["row_number"], r["problems"]) for r in bad]
    async with opened(tmp_path) as bench:
        newest = (await bench.service.newest(ADA, 1))[0]
        assert (newest.model, newest.state, newest.rows, newest.quarantined) == (MODEL, "done", ROWS, 4)
        assert newest.report is not None
        assert whole.report is not None
        assert (newest.report.histogram, newest.report.labels) == (whole.report.histogram, whole.report.labels)
    assert not [p.name for p in files.iterdir() if p.name.startswith(f".out{job}")]
