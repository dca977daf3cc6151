"""What windows cost, online and offline: `python benchmarks/features/windows.py` prints one JSON document.

Online: one packed value with five aggregates over 100 and over 1,000 events; a read, a write, and its size in bytes.
Offline: 200,000 rows of a spine against 1,000,000 events, against the range join that an author writes for the same
count, sum and maximum, which knows neither corrections nor late rows. Ratios travel between machines.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from stanchion.features import ServiceSpec, SourceSpec, Table, ViewSpec, count, distinct, maximum, mean, total
from stanchion.features.windows.plan import Plan
from stanchion.features.windows.state import Occurrence, State

sys.path.insert(0, str(Path(__file__).parent))

from point_in_time import CTX, DAY, MEMORY_MB, START, THREADS, measured, packed, service


class Source(BaseModel):
    """One event."""

    customer: int
    at: datetime
    known: datetime
    amount: float


class Windows(BaseModel):
    """Three windows of a week."""

    events: int
    spent: float
    largest: float | None


class Five(BaseModel):
    """Five windows of a month."""

    events: int
    spent: float
    average: float | None
    largest: float | None
    shops: int


class Paid(BaseModel):
    """One event of the online view."""

    card: str
    at: datetime
    amount: float
    shop: str


def online(held: int) -> dict[str, float]:
    """Microseconds of a read and of a write, and bytes, with so many events in the window."""
    month = {"days": 30}
    made = {
        "events": count(**month),
        "spent": total("amount", **month),
        "average": mean("amount", **month),
        "largest": maximum("amount", **month),
        "shops": distinct("shop", **month),
    }
    spec = ViewSpec("five", Five, "card", timedelta(days=60), SourceSpec("paid", Paid, "at"), {}, made, 2_000)
    state, now = State(Plan(spec)), START + 40 * DAY
    chance = np.random.default_rng(1)
    times = (now - chance.integers(0, 30 * DAY, held)).tolist()
    rows = [Occurrence(at, at, "", (), (i / 8, f"s{i % 20}")) for i, at in enumerate(times)]
    content = state.merge(None, rows, now)
    if content is None:
        raise AssertionError
    new = Occurrence(now, now, "", (), (1.0, "s1"))
    return {
        "read_us": timed(lambda: state.read("a", content, now)),
        "write_us": timed(lambda: state.merge(content, [new], now)),
        "bytes": len(content),
    }


def timed(call: Callable[[], Any]) -> float:
    """The best microseconds of a call, of five rounds."""
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(200):
            call()
        best = min(best, time.perf_counter() - started)
    return round(best / 200 * 1e6, 1)


def by_hand(content: bytes, file: Path) -> pa.Table:
    """Count, sum and maximum of the last seven days by a range join."""
    link = duckdb.connect(config={"threads": THREADS, "memory_limit": f"{MEMORY_MB}MB"})
    link.execute("SET TimeZone = 'UTC'")
    link.register("given", pa.ipc.open_stream(content).read_all())
    begins = "to_timestamp(floor((epoch(s.asked) - 604800) / 10080) * 10080)"
    events = f"read_parquet('{file}') e ON s.customer = e.customer AND e.\"at\" BETWEEN {begins} AND s.asked"
    what = (
        "s.r, any_value(s.label) AS label, count(e.amount) AS events, sum(e.amount) AS spent, max(e.amount) AS largest"
    )
    numbered = "(SELECT *, row_number() OVER () AS r FROM given) s"
    found = link.sql(" ".join(["SELECT", what, "FROM", numbered, "LEFT JOIN", events, "GROUP BY s.r ORDER BY s.r"]))
    table = found.to_arrow_table()
    packed(table)
    link.close()
    return table


async def offline(rows: int, spine: int, rounds: int) -> dict[str, Any]:
    """Seconds of each, best of the rounds."""
    chance = np.random.default_rng(5)
    moments = pa.timestamp("us", tz="UTC")
    at = START + chance.integers(0, 100 * DAY, rows)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        table = {
            "customer": chance.integers(0, rows // 100, rows),
            "at": pa.array(at, moments),
            "known": pa.array(at + chance.integers(0, DAY, rows), moments),
            "amount": chance.integers(0, 1000, rows) / 8,
        }
        pq.write_table(pa.table(table), folder / "events.parquet")
        asked = pa.array(START + chance.integers(10 * DAY, 100 * DAY, spine), moments)
        given = {
            "customer": chance.integers(0, rows // 100, spine),
            "asked": asked,
            "label": chance.integers(0, 2, spine),
        }
        content = packed(pa.table(given))
        week = {"days": 7}
        made = {"events": count(**week), "spent": total("amount", **week), "largest": maximum("amount", **week)}
        source = SourceSpec("events", Source, "at", "known", Table("parquet", str(folder / "events.parquet")))
        view = ViewSpec("windows", Windows, "customer", timedelta(days=365), source, {}, made, 10_000)
        join = await service(folder, [view], ServiceSpec("risk", ["windows"]))

        async def ours(as_of: Any) -> pa.Table:
            pieces = [piece async for piece in join.historical(CTX, "risk", content, time="asked", as_of=as_of)]
            return pa.ipc.open_stream(b"".join(pieces)).read_all()

        right, mine = by_hand(content, folder / "events.parquet"), await ours("event")
        there = np.array(mine["events"].is_valid())
        for field in ("events", "spent"):
            wanted = np.nan_to_num(right[field].to_numpy())[there]
            assert (mine[field].to_numpy()[there] == wanted).all(), field
        calls: dict[str, Callable[[], Any]] = {
            "event": lambda: ours("event"),
            "known": lambda: ours("known"),
            "by_hand": lambda: asyncio.to_thread(by_hand, content, folder / "events.parquet"),
        }
        best = await measured(calls, rounds)
    return {
        "seconds": {name: round(value, 3) for name, value in best.items()},
        "ratio_to_hand_written": round(best["event"] / best["by_hand"], 2),
        "known_to_event": round(best["known"] / best["event"], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--spine", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    figures = {"online_100": online(100), "online_1000": online(1_000)}
    figures["offline"] = asyncio.run(offline(asked.rows, asked.spine, asked.rounds))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
