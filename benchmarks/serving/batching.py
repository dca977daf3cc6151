"""What the adaptive batcher makes of a model whose runs take 5 ms, against the same engine fed with full batches.

Run: python benchmarks/serving/batching.py [--seconds 4] [--size 32] [--callers 128]. The engine is one that takes 5 ms
for a run and 0.02 ms for each instance, one run at a time, as an accelerator does: it waits and uses no processor.
`raw` is that engine called with full batches in a loop; `batched` and `single` are calls of one instance through the
gated serving module, with and without the batcher, all callers at once. Latencies are of the callers, in milliseconds.
`interactive` is the latency of interactive calls while bulk calls fill the queue.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
import time
from collections.abc import Sequence
from statistics import quantiles

from pydantic import BaseModel

from stanchion import System
from stanchion.core.context import Context
from stanchion.serving import Batch, PredictOptions, Serving
from stanchion.testing import offline

RUN, EACH = 0.005, 0.00002
DEVICE = threading.Lock()


class Instance(BaseModel):
    value: float


class Outcome(BaseModel):
    value: float


def run(items: Sequence[Instance]) -> list[Outcome]:
    """One run of the engine."""
    with DEVICE:
        time.sleep(RUN + EACH * len(items))
    return [Outcome(value=item.value) for item in items]


def system(size: int) -> System:
    app = System("batching")

    def model(items: Sequence[Instance]) -> list[Outcome]:
        return run(items)

    # A plain function: it runs in a thread, as a slow graph does.
    app.model("single", timeouts={"primary": 60.0})(model)  # type: ignore[arg-type]  # plain functions are served too
    app.model("batched", batch=Batch(size=size, most_wait_ms=60_000), timeouts={"primary": 60.0})(model)  # type: ignore[arg-type]  # as above
    return app


def raw(size: int, seconds: float) -> float:
    """Instances a second of the engine with nothing around it."""
    items = [Instance(value=0.0)] * size
    ends, count = time.perf_counter() + seconds, 0
    while time.perf_counter() < ends:
        run(items)
        count += size
    return count / seconds


async def loaded(
    serving: Serving, ctx: Context, model: str, callers: int, seconds: float, options: PredictOptions
) -> tuple[float, list[float]]:
    """Instances a second, and the latencies in milliseconds."""
    ends, latencies = time.perf_counter() + seconds, []

    async def caller(number: int) -> None:
        while time.perf_counter() < ends:
            started = time.perf_counter()
            await serving.predict(ctx, model, [{"value": float(number)}], options=options)
            latencies.append((time.perf_counter() - started) * 1000)

    await asyncio.gather(*(caller(number) for number in range(callers)))
    return len(latencies) / seconds, latencies


def told(latencies: Sequence[float]) -> dict[str, float]:
    points = quantiles(latencies, n=100)
    return {"p50_ms": round(points[49], 2), "p99_ms": round(points[98], 2)}


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--callers", type=int, default=128)
    asked = parser.parse_args()
    engine = raw(asked.size, asked.seconds)
    async with offline(system(asked.size)) as running:
        serving, plain = running.door(Serving), PredictOptions()
        # More single callers than the pool holds would be refused: that is its bound, and not what is measured.
        single, waits = await loaded(serving, running.ctx, "single", min(asked.callers, 32), asked.seconds, plain)
        batched, together = await loaded(serving, running.ctx, "batched", asked.callers, asked.seconds, plain)
        bulk = loaded(serving, running.ctx, "batched", 10 * asked.size, asked.seconds, PredictOptions(priority="bulk"))
        urgent = loaded(serving, running.ctx, "batched", 4, asked.seconds, PredictOptions(priority="interactive"))
        (_, waited), (_, passed) = await asyncio.gather(bulk, urgent)
        batcher = (await serving.describe(running.ctx, "batched")).batch
    figures = {
        "raw_per_second": round(engine),
        "batched_per_second": round(batched),
        "single_per_second": round(single),
        "of_raw": round(batched / engine, 3),
        "times_single": round(batched / single, 2),
        "mean_batch": round(batcher.instances / batcher.runs, 1) if batcher is not None else 0.0,
        "batched": told(together),
        "single": told(waits),
        "bulk": told(waited),
        "interactive": told(passed),
    }
    print(json.dumps({"benchmark": "serving/batching", **figures}))


if __name__ == "__main__":
    asyncio.run(main())
