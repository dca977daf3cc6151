"""What the gate adds to a call: microseconds of CPU for each, over awaiting the bare method; printed as one JSON line.

Run: python benchmarks/core/gate.py [calls]. Everything behind the gate is real: policies in Cedar, metrics, spans that
are not sampled, the system's clock and a deadline. Authorisation is cached, as it is from the second call on. The
figures are medians of rounds that alternate between the two; `gate_decided` is a call whose decision is not cached.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from itertools import count
from statistics import median
from typing import Protocol

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context, Effect, Rights
from stanchion.core.contract import action, methods
from stanchion.core.gate import Gate, Recorder
from stanchion.core.security.policy.service import PolicyService
from stanchion.core.security.tables import SECURITY_SCHEMA
from stanchion.core.storage.open import open_database
from stanchion.core.telemetry.instruments import GateInstruments
from stanchion.core.telemetry.metrics import Metrics
from stanchion.core.telemetry.spans import SpanRecorder
from stanchion.core.telemetry.tables import TELEMETRY_SCHEMA

ROUNDS = 10


class Echo(Protocol):
    """A contract with nothing behind it."""

    @action("serving:predict", effect="read", resource="Model", by="model", seconds=30)
    async def predict(self, ctx: Context, model: str, item: int) -> int:
        """The item."""
        ...


class Bare(Echo):
    """The cheapest service there is."""

    async def predict(self, ctx: Context, model: str, item: int) -> int:
        return item


class Nowhere(Recorder):
    """Reads are not audited."""

    async def record(self, effect: Effect, outcome: str) -> None:
        raise AssertionError(f"a read was recorded as {outcome}")


async def cost(call: Callable[[int], Awaitable[object]], times: int) -> float:
    started = time.process_time()
    for number in range(times):
        await call(number)
    return (time.process_time() - started) / times * 1e6


async def measured(calls: int) -> dict[str, float]:
    clock, database = SystemClock(), open_database("memory:")
    for schema in (SECURITY_SCHEMA, TELEMETRY_SCHEMA):
        await database.prepare(schema)
    policies = PolicyService(database, actions=[m.action for m in methods(Echo)], clock=clock)
    await policies.refresh()
    instruments = GateInstruments(Metrics(), SpanRecorder(database, clock))
    gate = Gate(authoriser=policies, recorder=Nowhere(), instruments=instruments, clock=clock)
    bare: Echo = Bare()
    gated = gate.wrap(Echo, bare)
    ctx = Context(
        tenant="acme",
        principal="key:abc",
        rights=Rights(roles=frozenset({"predictor"})),
        deadline=clock.monotonic() + 3600,
    )
    names = count()
    each = calls // ROUNDS
    pairs = []
    for _ in range(ROUNDS):
        direct = await cost(lambda number: bare.predict(ctx, "churn", number), each)
        pairs.append((direct, await cost(lambda number: gated.predict(ctx, "churn", number), each)))
    decided = await cost(lambda number: gated.predict(ctx, f"m{next(names)}", number), 1_000)
    await database.close()
    return {
        "bare_us": median(direct for direct, _ in pairs),
        "gated_us": median(through for _, through in pairs),
        "gate_us": median(through - direct for direct, through in pairs),
        "gate_decided_us": decided,
    }


def main() -> None:
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    figures = asyncio.run(measured(calls))
    print(json.dumps({"benchmark": "core/gate", "calls": calls, **{k: round(v, 3) for k, v in figures.items()}}))


if __name__ == "__main__":
    main()
