"""Materialises a view and tells of each partition on stdout, until it is done or killed.

Run as a program by test_crash.py: arguments are the folder of the stores and the number of the run, which is its time:
each run begins when the lease of the one before has run out.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from pathlib import Path

from stanchion.core.context import Effect
from stanchion.testing.clock import FakeClock
from tests.features.materialise.running import CTX, NOW, running


async def main(folder: Path, run: int, *, backfill: bool) -> None:
    clock = FakeClock(NOW + timedelta(seconds=61 * run))
    options = {"start": NOW - timedelta(days=3), "end": NOW + timedelta(microseconds=1)} if backfill else {}
    async with running(folder, clock) as made:
        print("ready", flush=True)

        effect = Effect("features:write", "write", "FeatureView::spending", "t1", "ada", "r", "t")
        async for event in made.materialise.materialise(CTX.within(effect), "spending", **options):
            print("skipped" if event.skipped else "done", event.partition.isoformat(), event.rows, flush=True)
    print("finished", flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), backfill=sys.argv[3] == "backfill"))
