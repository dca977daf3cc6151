"""What the point-in-time join costs above hand-written SQL: `python benchmarks/features/point_in_time.py`.

200,000 rows of a spine against three views of 1,000,000 rows each, in Parquet, with late rows and corrections. The
rival is DuckDB itself with the SQL that a careful author writes for the same answer, in the same run, with the same
memory and threads. `plain` is the shortest SQL, which gives the same answer only where no event has two versions.
Every row of a sample is checked against a loop in Python. Prints one JSON document; ratios travel between machines.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from stanchion.core.context import Context
from stanchion.core.storage.open import open_database
from stanchion.features import ServiceSpec, SourceSpec, Table, ViewSpec
from stanchion.features.backends.duck import Duck
from stanchion.features.backends.log import SqlLog
from stanchion.features.backends.tables import SCHEMA
from stanchion.features.offline.relations import Relations
from stanchion.features.offline.service import Historical
from stanchion.features.offline.spine import Limits
from stanchion.features.windows.plan import Plan

DAY = 86_400_000_000
START = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
CTX = Context("bench", "bench")
TTL = timedelta(days=30)
THREADS, MEMORY_MB = 2, 2_000
NAMES = ("accounts", "cards", "devices")


class Source(BaseModel):
    """One row of each source."""

    customer: int
    at: datetime
    known: datetime
    amount: float
    limit: float
    visits: int


class Accounts(BaseModel):
    """The view of the first source."""

    accounts_amount: float
    accounts_limit: float
    accounts_visits: int


class Cards(BaseModel):
    """The view of the second source."""

    cards_amount: float
    cards_limit: float
    cards_visits: int


class Devices(BaseModel):
    """The view of the third source."""

    devices_amount: float
    devices_limit: float
    devices_visits: int


def make(folder: Path, rows: int, spine: int) -> pa.Table:
    """The sources as files, and the spine. A tenth of the rows is late, one in a hundred corrects another."""
    for number, name in enumerate(NAMES):
        chance = np.random.default_rng(number)
        customer = chance.integers(0, rows // 100, rows)
        at = START + chance.integers(0, 100 * DAY, rows)
        known = at + np.where(chance.random(rows) < 0.1, chance.integers(0, 3 * DAY, rows), 0)
        corrected = chance.integers(0, rows, rows // 100)
        where = chance.integers(0, rows, rows // 100)
        customer[where], at[where] = customer[corrected], at[corrected]
        known[where] = known[corrected] + chance.integers(1, 5 * DAY, rows // 100)
        moments = pa.timestamp("us", tz="UTC")
        table = {
            "customer": customer,
            "at": pa.array(at, moments),
            "known": pa.array(known, moments),
            "amount": chance.random(rows),
            "limit": chance.random(rows),
            "visits": chance.integers(0, 1000, rows),
        }
        pq.write_table(pa.table(table), folder / f"{name}.parquet")
    chance = np.random.default_rng(99)
    asked = pa.array(START + chance.integers(0, 110 * DAY, spine), pa.timestamp("us", tz="UTC"))
    return pa.table(
        {"customer": chance.integers(0, rows // 100, spine), "asked": asked, "label": chance.integers(0, 2, spine)}
    )


def views(folder: Path) -> list[ViewSpec]:
    """One view over each source."""
    found = []
    for name, row in zip(NAMES, (Accounts, Cards, Devices), strict=True):
        source = SourceSpec(name, Source, "at", "known", Table("parquet", str(folder / f"{name}.parquet")))
        select = {f"{name}_{field}": f'"{field}"' for field in ("amount", "limit", "visits")}
        found.append(ViewSpec(name, row, "customer", TTL, source, select))
    return found


def by_hand(folder: Path, rows: Callable[[str], str]) -> str:
    """The join as an author writes it; `rows` gives the relation of a file."""
    fields = [
        f'CASE WHEN {n}."at" >= s.asked - INTERVAL 30 DAY THEN {n}."{f}" END AS {n}_{f}'
        for n in NAMES
        for f in ("amount", "limit", "visits")
    ]
    joins = [
        f"ASOF LEFT JOIN ({rows(str(folder / n))}) {n} ON s.customer = {n}.customer AND s.asked >= {n}.at"
        for n in NAMES
    ]
    numbered = "(SELECT *, row_number() OVER () AS r FROM spine)"
    return " ".join(["SELECT s.* EXCLUDE (r),", ", ".join(fields), "FROM", numbered, "s", *joins, "ORDER BY r"])


def plain(file: str) -> str:
    """A file's rows as they are."""
    return f"FROM read_parquet('{file}.parquet')"


def careful(file: str) -> str:
    """A file's rows, of each event the version known last."""
    last = 'QUALIFY row_number() OVER (PARTITION BY customer, "at" ORDER BY known DESC) = 1'
    return f"FROM read_parquet('{file}.parquet') {last}"


def run_by_hand(content: bytes, query: str) -> pa.Table:
    """What the query gives for the spine, from IPC to IPC as ours."""
    link = duckdb.connect(config={"threads": THREADS, "memory_limit": f"{MEMORY_MB}MB"})
    link.execute("SET TimeZone = 'UTC'")
    link.register("spine", pa.ipc.open_stream(content).read_all())
    found = link.sql(query).to_arrow_table()
    packed(found)
    link.close()
    return found


def packed(table: pa.Table) -> bytes:
    """The table as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue())


async def service(folder: Path, declared: list[ViewSpec], made: ServiceSpec) -> Historical:
    """The join over these declarations."""
    database = open_database("memory:")
    await database.prepare(SCHEMA)

    async def no_secret(name: str) -> str:
        raise KeyError(name)

    relations = Relations([Plan(view) for view in declared], tenant=CTX.tenant, resolve=no_secret, log=SqlLog(database))
    engine = Duck(folder=folder / "spill", home=folder, memory_mb=MEMORY_MB, threads=THREADS)
    return Historical([made], {}, relations=relations, engine=engine, limits=Limits(1024, 2_000_000))


async def opened(folder: Path) -> Historical:
    """The join over the benchmark's declarations."""
    declared = views(folder)
    return await service(folder, declared, ServiceSpec("risk", [view.name for view in declared]))


async def ours(join: Historical, content: bytes, as_of: Any) -> pa.Table:
    """What the join gives."""
    pieces = [piece async for piece in join.historical(CTX, "risk", content, time="asked", as_of=as_of)]
    return pa.ipc.open_stream(b"".join(pieces)).read_all()


def check(folder: Path, spine: pa.Table, made: pa.Table, as_of: str, sample: int) -> None:
    """Every row of a sample, all of its features, against a loop over the events of its customer."""
    asked = spine["asked"].cast(pa.int64()).to_numpy()
    customers = spine["customer"].to_numpy()
    chosen = np.random.default_rng(1).integers(0, len(asked), sample)
    wanted = set(customers[chosen].tolist())
    for name in NAMES:
        table = pq.read_table(folder / f"{name}.parquet")
        keep = np.isin(table["customer"].to_numpy(), list(wanted))
        some = table.filter(pa.array(keep))
        columns = [some[c].cast(pa.int64()).to_pylist() for c in ("customer", "at", "known")]
        events: dict[int, list[tuple[int, int, float, float, int]]] = {}
        for customer, *rest in zip(
            *columns, *(some[c].to_pylist() for c in ("amount", "limit", "visits")), strict=True
        ):
            events.setdefault(customer, []).append(tuple(rest))
        fields = [made[f"{name}_{field}"] for field in ("amount", "limit", "visits")]
        for row in chosen.tolist():
            t = int(asked[row])
            seen = [e for e in events.get(int(customers[row]), []) if e[0] <= t and (as_of == "event" or e[1] <= t)]
            best = max(seen, default=None)
            right = (None,) * 3 if best is None or best[0] < t - TTL // timedelta(microseconds=1) else best[2:]
            assert tuple(field[row].as_py() for field in fields) == right, (name, row, right)


async def measured(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """The best wall time of each, in turns, so that whatever else the machine does meets all alike."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            started = time.perf_counter()
            await call()
            best[name] = min(best[name], time.perf_counter() - started)
    return best


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--spine", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sample", type=int, default=20_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        spine = make(folder, asked.rows, asked.spine)
        content = packed(spine)
        join = await opened(folder)
        for mode in ("event", "known"):
            check(folder, spine, await ours(join, content, mode), mode, asked.sample)
        rival = run_by_hand(content, by_hand(folder, careful))
        assert (await ours(join, content, "event")).select(rival.column_names).equals(rival.cast(rival.schema))
        calls: dict[str, Callable[[], Any]] = {
            "event": lambda: ours(join, content, "event"),
            "known": lambda: ours(join, content, "known"),
            "careful": lambda: asyncio.to_thread(run_by_hand, content, by_hand(folder, careful)),
            "plain": lambda: asyncio.to_thread(run_by_hand, content, by_hand(folder, plain)),
        }
        best = await measured(calls, asked.rounds)
    print(
        json.dumps(
            {
                "seconds": {each: round(value, 3) for each, value in best.items()},
                "ratio_to_hand_written": round(best["event"] / best["careful"], 2),
                "ratio_to_plain": round(best["event"] / best["plain"], 2),
                "known_to_event": round(best["known"] / best["event"], 2),
                "checked_rows": asked.sample,
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(main())
