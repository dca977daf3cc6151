"""What an answer from the cache costs in the handler: exact, nearest of 500 numbers, and a trivial model to compare.

Run: python benchmarks/serving/caching.py [--calls 20000]. Calls go one after another through the gated serving module,
as the route makes them, with a body decoded and an answer encoded. Times are in milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Sequence
from statistics import quantiles
from typing import Any

import msgspec
from pydantic import BaseModel

from stanchion import Cache, System
from stanchion.core.clock import SystemClock
from stanchion.core.context import Context, new_request_id
from stanchion.core.telemetry.contract import LedgerRow
from stanchion.serving import Serving
from stanchion.serving.answers import Ask, answered
from stanchion.testing import offline

STORED = 500


class Instance(BaseModel):
    name: str
    value: float
    f00: float = 0.0
    f01: float = 0.0
    f02: float = 0.0
    f03: float = 0.0
    f04: float = 0.0
    f05: float = 0.0
    f06: float = 0.0
    f07: float = 0.0
    f08: float = 0.0
    f09: float = 0.0
    kind: str = "a"
    flag: bool = False


class Outcome(BaseModel):
    value: float


def system() -> System:
    app = System("caching")

    async def model(items: Sequence[Instance]) -> list[Outcome]:
        return [Outcome(value=item.value) for item in items]

    app.model("exact", cache=Cache(ttl=3600))(model)
    app.model("near", cache=Cache(ttl=3600, near={"value": 0.25}))(model)
    app.model("plain")(model)
    return app


async def measured(serving: Serving, ctx: Context, bodies: Callable[[int], bytes], calls: int) -> dict[str, float]:
    decode, encode, clock = msgspec.json.Decoder(Ask).decode, msgspec.json.Encoder().encode, SystemClock()
    times = []
    for number in range(calls):
        body = bodies(number)
        started = time.perf_counter()
        row = LedgerRow(clock.now(), new_request_id(), "", ctx.tenant, ctx.principal, "")
        encode(await answered(serving, ctx, row, decode(body)))
        times.append((time.perf_counter() - started) * 1000)
    points = quantiles(times, n=1000)
    return {"p50_ms": round(points[499], 4), "p99_ms": round(points[989], 4), "p999_ms": round(points[998], 4)}


def body(model: str, value: float) -> bytes:
    features: dict[str, Any] = {"name": "somebody", "value": value, "kind": "b"}
    return json.dumps({"model_id": model, "features": features}).encode()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=20_000)
    asked = parser.parse_args()
    async with offline(system()) as running:
        serving, ctx = running.door(Serving), running.ctx
        await measured(serving, ctx, lambda n: body("exact", float(n)), STORED)
        await measured(serving, ctx, lambda n: body("near", float(n)), STORED)
        figures = {
            "exact_hit": await measured(serving, ctx, lambda n: body("exact", float(n % STORED)), asked.calls),
            "similar_hit": await measured(serving, ctx, lambda n: body("near", n % STORED + 0.1), asked.calls),
            "function": await measured(serving, ctx, lambda n: body("plain", float(n % STORED)), asked.calls),
        }
        rates = {name: (await serving.describe(ctx, name)).cache for name in ("exact", "near")}
    shown = {name: round(status.rate, 3) for name, status in rates.items() if status is not None}
    print(json.dumps({"benchmark": "serving/caching", **figures, "hit_rate": shown}))


if __name__ == "__main__":
    asyncio.run(main())
