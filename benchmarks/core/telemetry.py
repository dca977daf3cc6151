"""What telemetry costs: microseconds of CPU for each ledger row, span and metric.

Run `python benchmarks/core/telemetry.py`; it prints one JSON object. `ledger_write_us` is the call alone,
`ledger_loop_us` adds the event loop's share of storing, and `ledger_total_us` is all CPU of the process, the
writer thread included. SQLite in a temporary folder.
"""

from __future__ import annotations

import asyncio
import json
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context, Trace
from stanchion.core.redaction import redact
from stanchion.core.storage import Database
from stanchion.core.storage.open import open_database
from stanchion.core.telemetry.contract import LedgerRow
from stanchion.core.telemetry.instruments import GateInstruments
from stanchion.core.telemetry.ledger import Ledger
from stanchion.core.telemetry.metrics import Metrics
from stanchion.core.telemetry.spans import SpanRecorder
from stanchion.core.telemetry.tables import TELEMETRY_SCHEMA

ROWS = 100_000
SPANS = 10_000
BURST = 200


def rows(count: int) -> list[LedgerRow]:
    now = SystemClock().now()
    made = [(Trace.new().trace_id, Context("acme", "key:1").request_id) for _ in range(count)]
    return [
        LedgerRow(
            at=now,
            request_id=request_id,
            trace_id=trace_id,
            tenant="acme",
            principal="key:1",
            route="POST /v1/predictions",
            status=200,
            latency_ms=1.5 + i % 40,
            subject="churn",
            version="2.1.3",
            rung="primary",
        )
        for i, (trace_id, request_id) in enumerate(made)
    ]


def each(count: int, call: Callable[[], object]) -> float:
    started = time.process_time()
    for _ in range(count):
        call()
    return (time.process_time() - started) / count * 1e6


async def ledger(database: Database) -> dict[str, float]:
    book = Ledger(database)
    await book.start()
    made = rows(ROWS)
    cpu, loop, alone = time.process_time(), time.thread_time(), 0.0
    for start in range(0, ROWS, BURST):
        began = time.thread_time()
        for row in made[start : start + BURST]:
            book.write(row)
        alone += time.thread_time() - began
        await asyncio.sleep(0.02)
    await book.stop()
    return {
        "ledger_write_us": alone / ROWS * 1e6,
        "ledger_loop_us": (time.thread_time() - loop) / ROWS * 1e6,
        "ledger_total_us": (time.process_time() - cpu) / ROWS * 1e6,
    }


async def spans(database: Database) -> dict[str, float]:
    recorder = SpanRecorder(database, SystemClock(), capacity=SPANS * 2)
    instruments = GateInstruments(Metrics(), recorder)
    quiet = Context("acme", "key:1")
    sampled = replace(quiet, trace=Trace.new(sampled=True))

    def enter(ctx: Context) -> None:
        with instruments.span(ctx, "serving:predict", "churn"):
            pass

    found = {
        "span_sampled_us": each(SPANS, lambda: enter(sampled)),
        "span_unsampled_us": each(SPANS, lambda: enter(quiet)),
    }
    started = time.process_time()
    await recorder.stop()
    return {**found, "span_stored_us": (time.process_time() - started) / SPANS * 1e6}


def metrics() -> dict[str, float]:
    found = Metrics()
    instruments = GateInstruments(found, None)  # type: ignore[arg-type]  # observe needs no spans
    return {
        "counter_us": each(200_000, lambda: found.calls.inc("serving:predict", "ok")),
        "histogram_us": each(200_000, lambda: found.call_seconds.observe(0.002, "serving:predict")),
        "gate_observe_us": each(200_000, lambda: instruments.observe("serving:predict", "ok", 0.002)),
        "redact_line_us": each(20_000, lambda: redact("POST /v1/predictions answered 200 in 3.2 ms for key:1")),
    }


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(f"sqlite://{Path(folder)}/telemetry.db", durable=False)
        await database.prepare(TELEMETRY_SCHEMA)
        found = {**await ledger(database), **await spans(database), **metrics()}
        await database.close()
    machine = f"{platform.python_implementation()} {platform.python_version()} {platform.machine()}"
    print(json.dumps({"machine": machine, **{name: round(value, 2) for name, value in found.items()}}, indent=2))


if __name__ == "__main__":
    asyncio.run(main())
