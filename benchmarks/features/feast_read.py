"""Reads features online with Stanchion, as often as it is told on stdin: our side of features/feast_online.py.

Run: feast_read.py sqlite|redis FOLDER [REDIS_URL]. It fills the store through the door, prints a ready line, and
answers each line `{"keys": [...], "times": n}` with its CPU and wall time a read and the values of the last one. Each
read is a call of `Features.vectors` through the gate: authorised, metered, its keys checked.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import create_model

from stanchion import System
from stanchion.core.clock import SystemClock
from stanchion.core.context import Context, Rights
from stanchion.core.settings import BackendSettings, BackendsSettings, HouseSettings, ModulesSettings
from stanchion.features import Features, Row
from stanchion.system.house import House

ENTITIES = 1_000
NAMES = [f"f{number}" for number in range(10)]

app = System("bench")
Spending: Any = create_model("Spending", **dict.fromkeys(NAMES, (float, ...)))
spending = app.features("spending", Spending, entity="customer", ttl=timedelta(days=1))
ten = app.feature_service("ten", [spending])


async def main(kind: str, folder: Path, redis: str) -> None:
    keyvalue = BackendSettings(use="redis", url=redis) if kind == "redis" else BackendSettings()
    settings = HouseSettings(
        modules=ModulesSettings(enabled=("features",)), backend=BackendsSettings(keyvalue=keyvalue)
    )
    house = await House.open(settings, folder / "data", clock=SystemClock(), environment={}, declared=app)
    try:
        await house.start()
        door = house.door(Features)
        ctx = Context(settings.tenant, "benchmark", rights=Rights(roles=frozenset({"admin"})))
        now = datetime.now(UTC)
        rows = [
            Row(f"c{number}", {name: number + place / 10 for place, name in enumerate(NAMES)}, now)
            for number in range(ENTITIES)
        ]
        await door.push(ctx, "spending", rows)
        print(json.dumps({"event": "ready"}), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            ask = json.loads(line)
            print(json.dumps(await timed(door, ctx, ask["keys"], ask["times"])), flush=True)
    finally:
        await house.close()


async def timed(door: Features, ctx: Context, keys: list[str], times: int) -> dict[str, Any]:
    """CPU and wall time of one read, and what the last one gave."""
    entities = [{"customer": key} for key in keys]
    told: Any = ()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(times):
        told = await door.vectors(ctx, "ten", entities)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    values = [[vector.values[name] for name in NAMES] for vector in told]
    return {"cpu_us": cpu * 1e6 / times, "us": wall * 1e6 / times, "values": values}


if __name__ == "__main__":
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else ""))
