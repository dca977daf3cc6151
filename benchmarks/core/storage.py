"""What the storage ports cost above their engine: `python benchmarks/core/storage.py` prints one JSON document.

`sqlalchemy` is the same statements by SQLAlchemy Core in the same groups: what ours adds is the difference to that.
Every figure stands beside the same work on the bare `sqlite3` module in the same run: ratios travel between machines.
CPU is of the whole process, all threads.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import sqlalchemy as sa

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context
from stanchion.core.storage import Schema
from stanchion.core.storage.open import open_database, open_keyvalue
from stanchion.core.storage.sql.sqlite import sqlite_engine
from stanchion.core.storage.sql.writer import BATCH

WRITES = 20_000
IN_FLIGHT = 1_000
LONE = 300
READS = 3_000

_metadata = sa.MetaData()
NOTE = sa.Table("note", _metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("body", sa.String))
SCHEMA = Schema("notes", _metadata)
CTX = Context("acme", "bench")
BODY = "x" * 100


def insert(number: int) -> Callable[[sa.Connection], None]:
    return lambda connection: connection.execute(sa.insert(NOTE).values(id=number, body=BODY)) and None


async def timed(work: Callable[[], Awaitable[object]], times: int) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    await work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "per_second": round(times / wall),
        "us": round(wall / times * 1e6, 1),
        "cpu_us": round(cpu / times * 1e6, 1),
    }


def raw(path: Path) -> sqlite3.Connection:
    link = sqlite3.connect(path, isolation_level=None)
    link.execute("PRAGMA journal_mode=WAL")
    link.execute("PRAGMA synchronous=FULL")
    link.execute("CREATE TABLE note (id INTEGER PRIMARY KEY, body TEXT)")
    return link


async def raw_writes(link: sqlite3.Connection, first: int, count: int, group: int) -> None:
    for start in range(first, first + count, group):
        link.execute("BEGIN IMMEDIATE")
        for number in range(start, min(start + group, first + count)):
            link.execute("INSERT INTO note VALUES (?, ?)", (number, BODY))
        link.execute("COMMIT")


async def core_writes(engine: sa.Engine, first: int, count: int, group: int) -> None:
    for start in range(first, first + count, group):
        with engine.begin() as connection:
            for number in range(start, min(start + group, first + count)):
                insert(number)(connection)


async def core_reads(engine: sa.Engine) -> None:
    for number in range(READS):
        with engine.connect() as connection:
            connection.execute(sa.select(NOTE).where(NOTE.c.id == number)).one()


async def writes(folder: Path) -> dict[str, object]:
    database = open_database(f"sqlite://{folder}/ours.db")
    await database.prepare(SCHEMA)

    async def caller(first: int) -> None:
        for number in range(first, WRITES, IN_FLIGHT):
            await database.write(CTX, insert(number))

    async def concurrent() -> None:
        await asyncio.gather(*(caller(first) for first in range(IN_FLIGHT)))

    async def lone() -> None:
        for number in range(LONE):
            await database.write(CTX, insert(WRITES + number))

    async def reads() -> None:
        for number in range(READS):
            await database.read(lambda c, number=number: c.execute(sa.select(NOTE).where(NOTE.c.id == number)).one())

    async def raw_reads() -> None:
        for number in range(READS):
            link.execute("SELECT * FROM note WHERE id = ?", (number,)).fetchone()

    link, core = raw(folder / "raw.db"), sqlite_engine(folder / "core.db").writer
    _metadata.create_all(core)
    figures = {
        "concurrent": {
            "ours": await timed(concurrent, WRITES),
            "sqlalchemy": await timed(lambda: core_writes(core, 0, WRITES, BATCH), WRITES),
            "sqlite3": await timed(lambda: raw_writes(link, 0, WRITES, BATCH), WRITES),
        },
        "lone": {
            "ours": await timed(lone, LONE),
            "sqlalchemy": await timed(lambda: core_writes(core, WRITES, LONE, 1), LONE),
            "sqlite3": await timed(lambda: raw_writes(link, WRITES, LONE, 1), LONE),
        },
        "read": {
            "ours": await timed(reads, READS),
            "sqlalchemy": await timed(lambda: core_reads(core), READS),
            "sqlite3": await timed(raw_reads, READS),
        },
    }
    link.close()
    core.dispose()
    await database.close()
    return {name: each | {"cpu_ratios": ratios(each)} for name, each in figures.items()}


def ratios(each: dict[str, dict[str, float]]) -> dict[str, float]:
    return {f"to_{name}": round(each["ours"]["cpu_us"] / each[name]["cpu_us"], 2) for name in ("sqlalchemy", "sqlite3")}


async def keyvalue(url: str) -> dict[str, float]:
    store = open_keyvalue(url, clock=SystemClock())
    await store.set({f"k{n}": BODY.encode() for n in range(1_000)})
    keys = [f"k{n * 97}" for n in range(10)]

    async def gets() -> None:
        for _ in range(READS):
            await store.get(keys)

    figures = await timed(gets, READS)
    await store.close()
    return figures


async def main() -> None:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        result = {
            "writes": await writes(folder),
            "get_of_10_keys": {
                "memory": await keyvalue("memory:"),
                "sqlite": await keyvalue(f"sqlite://{folder}/kv.db"),
            },
        }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    asyncio.run(main())
