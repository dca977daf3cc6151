"""Rows of a stream scored a second: an hourly window, a feature over ten minutes and two detectors for each key.

Run: python benchmarks/events/streams.py [--rows N] [--keys N] [--rounds N]. One process on uvloop, SQLite with an fsync
at every commit. The rows lie in the bus when it begins; it ends when all are scored and committed with their state. A
row comes each second from each key, so windows close all the time. `each_10000` is the rate from each 10,000 rows to
the next: it shows whether a row costs more, the more have been seen. The last line is one JSON document.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from pathlib import Path
from typing import NamedTuple

import uvloop
from pydantic import BaseModel

from stanchion import System
from stanchion.events import Event, Ewma, Measure, RobustZ, Rolling, Tumbling, Windowed
from stanchion.testing.events import caller, running, sqlite_url

START = datetime(2026, 3, 1, tzinfo=UTC)
STEP = 10_000


class Round(NamedTuple):
    """Rows a second, in all and from each 10,000 rows to the next."""

    rate: float
    steps: list[int]


class Reading(BaseModel):
    """A row."""

    at: datetime
    celsius: float


def declared() -> System:
    """The system with the stream."""
    app = System("bench")
    app.stream(
        "heat",
        app.event("press.read", Reading),
        row=Reading,
        time="at",
        windows={"hour": Windowed(Tumbling(timedelta(hours=1)), {"mean": Measure("mean", "celsius")})},
        features={"recent": Rolling(Measure("mean", "celsius"), timedelta(minutes=10))},
        detectors={"level": RobustZ("celsius", memory=200, warm=50), "drift": Ewma("recent")},
        lag=timedelta(seconds=10),
    )
    return app


def rows(number: int, keys: int) -> list[Event]:
    """One row each second from each key."""
    drawn = random.Random(1)
    return [
        Event.of(
            "press.read",
            "/bench",
            {
                "at": (START + timedelta(seconds=each // keys)).isoformat(),
                "celsius": round(70 + drawn.gauss(0, 2), 2),
            },
            subject=f"press-{each % keys}",
        )
        for each in range(number)
    ]


async def scored(folder: Path, number: int, keys: int) -> Round:
    """How quick a round was."""
    ctx, made = caller(), rows(number, keys)
    async with running(sqlite_url(folder), *declared().all(), durable=True, backlog=10_000_000) as bus:
        name = next(view.name for view in await bus.consumers(ctx))
        await bus.pause(ctx, name)
        for start in range(0, number, 500):
            await bus.publish(ctx, made[start : start + 500])
        began = time.perf_counter()
        passed: list[tuple[int, float]] = [(0, began)]
        await bus.resume(ctx, name)
        for _ in count():
            views = await bus.consumers(ctx)
            done, now = number - sum(view.behind for view in views), time.perf_counter()
            if done - passed[-1][0] >= STEP:
                passed.append((done, now))
            if not any(view.behind or view.running for view in views):
                return Round(number / (now - began), rates(passed))
            await asyncio.sleep(0.05)
    raise AssertionError("not reached")


def rates(passed: list[tuple[int, float]]) -> list[int]:
    """Rows a second between each two of the moments at which so many rows were done."""
    return [round((done - before) / (now - then)) for (before, then), (done, now) in pairwise(passed)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--keys", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    found: list[Round] = []
    for number in range(given.rounds):
        with tempfile.TemporaryDirectory(prefix="stanchion-bench-") as place:
            found.append(uvloop.run(scored(Path(place), given.rows, given.keys)))
        print(number, found[-1], file=sys.stderr)
    middle = sorted(found, key=lambda each: each.rate)[len(found) // 2]
    told = {"cores": os.cpu_count(), "rows": given.rows, "keys": given.keys}
    print(json.dumps({**told, "rows_per_second": round(middle.rate), "each_10000": middle.steps}))


if __name__ == "__main__":
    main()
