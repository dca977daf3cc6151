"""The bus on SQLite beside SQLite itself: events handled a second, in batches and one by one, and the delay at 500/s.

Run: python benchmarks/events/embedded.py [--folder DIR] [--events N] [--seconds N] [--rounds N]. It tells each measure
on stderr and ends with one JSON document of the medians. 500 bytes of data, 200 keys, one process, on uvloop. Every
commit is synced to the disk (`synchronous=FULL`), ours and the raw ones alike; `--no-sync` measures without. The delay
is through a whole house: `publish` is authorised, metered and audited by the gate, and the handler is a declared one.
There Python's collector is set as `stanchion run` sets it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import msgspec
import uvloop

from stanchion import System
from stanchion.app.server import COLLECTING
from stanchion.core.clock import SystemClock
from stanchion.core.context import Context, Rights
from stanchion.core.settings import HouseSettings, ModulesSettings
from stanchion.core.storage.sql.sqlite import connect_file
from stanchion.events import Commit, Event, Events, HandlerSpec
from stanchion.system.house import House
from stanchion.testing.events import caller, running

KEYS = 200
DATA = msgspec.json.encode({"text": "x" * 489})


def events(number: int) -> list[Event]:
    """So many events of 500 bytes of data."""
    return [Event(type="bench.made", source="/bench", subject=f"k{n % KEYS}", data=DATA) for n in range(number)]


class Counting:
    """A handler that counts, and tells when it has counted enough."""

    def __init__(self, most: int) -> None:
        self.count = 0
        self.most = most
        self.full = asyncio.Event()

    def add(self, number: int) -> None:
        self.count += number
        if self.count >= self.most:
            self.full.set()

    async def batch(self, ctx: Context, given: Sequence[Event], commit: Commit) -> None:
        self.add(len(given))

    async def single(self, ctx: Context, given: Event, commit: Commit) -> None:
        self.add(1)


async def settled(bus: Events, ctx: Context) -> None:
    """Return when every consumer is done: handled and committed."""
    for _ in count():
        if not any(view.behind or view.running for view in await bus.consumers(ctx)):
            return
        await asyncio.sleep(0.02)


async def drained(url: str, number: int, *, batch: int, sync: bool) -> tuple[float, float]:
    """Events handled a second from a backlog, every commit included; and events published a second before."""
    counting = Counting(number)
    spec = HandlerSpec(
        name="bench", types=("bench.*",), function=counting.batch if batch > 1 else counting.single, batch=batch,
        concurrency=64,
    )  # fmt: skip
    ctx = caller()
    async with running(url, spec, durable=sync, workers=True, backlog=10_000_000) as bus:
        await bus.pause(ctx, "bench")
        began = time.perf_counter()
        made = events(number)
        for start in range(0, number, 500):
            await bus.publish(ctx, made[start : start + 500])
        published = number / (time.perf_counter() - began)
        began = time.perf_counter()
        await bus.resume(ctx, "bench")
        await counting.full.wait()
        await settled(bus, ctx)
        return number / (time.perf_counter() - began), published


async def through(url: str, number: int, *, batch: int, sync: bool) -> float:
    """Events a second, published and handled side by side."""
    counting = Counting(number)
    spec = HandlerSpec(
        name="bench", types=("bench.*",), function=counting.batch if batch > 1 else counting.single, batch=batch
    )  # fmt: skip
    ctx = caller()
    async with running(url, spec, durable=sync, backlog=10_000_000) as bus:
        made = events(number)
        began = time.perf_counter()
        for start in range(0, number, 500):
            await bus.publish(ctx, made[start : start + 500])
        await counting.full.wait()
        await settled(bus, ctx)
        return number / (time.perf_counter() - began)


async def delays(folder: Path, rate: float, seconds: float) -> list[float]:
    """Seconds from the call of `publish` to the handler's first line, one event a call, on a fixed schedule."""
    found: list[float] = []
    app = System("bench")

    @app.on("bench.*")
    async def handle(ctx: Context, given: Event, commit: Commit) -> None:
        found.append(time.perf_counter() - float(str(given.extensions["sentat"])))

    settings = HouseSettings(modules=ModulesSettings(enabled=("events",)))
    house = await House.open(settings, folder, clock=SystemClock(), environment={}, declared=app)
    try:
        await house.start()
        bus = house.door(Events)
        ctx = Context(settings.tenant, "benchmark", rights=Rights(roles=frozenset({"admin"})))
        await bus.publish(ctx, [Event(type="other", source="/bench")])
        with _collecting_as_served():
            await _paced(bus, ctx, rate, seconds)
        await settled(bus, ctx)
    finally:
        await house.close()
    return sorted(found)


@contextmanager
def _collecting_as_served() -> Iterator[None]:
    """What the house is made of is not looked through again and again: a tenth of a second each time."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTING)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


async def _paced(bus: Events, ctx: Context, rate: float, seconds: float) -> None:
    began = time.perf_counter()
    calls = []
    for number in range(int(rate * seconds)):
        # By the schedule and not after the last answer: a slow call must not hide behind a later start.
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        event = Event(
            type="bench.made", source="/bench", subject=f"k{number % KEYS}", data=DATA, extensions={"sentat": repr(due)}
        )
        calls.append(asyncio.create_task(bus.publish(ctx, [event])))
    await asyncio.gather(*calls)


def raw(folder: Path, number: int, *, batch: int, sync: bool) -> float:
    """The same by hand: read a batch, note its events as handled, move the position, commit; events a second."""
    link = connect_file(folder / "raw.db", f"PRAGMA synchronous={'FULL' if sync else 'NORMAL'}")
    link.execute("CREATE TABLE log (seq INTEGER PRIMARY KEY, body BLOB)")
    link.execute("CREATE TABLE handled (source TEXT, id TEXT, PRIMARY KEY (source, id)) WITHOUT ROWID")
    link.execute("CREATE TABLE position (name TEXT PRIMARY KEY, seq INTEGER)")
    link.execute("INSERT INTO position VALUES ('bench', 0)")
    link.execute("BEGIN")
    link.executemany(
        "INSERT INTO log (body) VALUES (?)", ((msgspec.msgpack.encode(each),) for each in events(number))
    )  # fmt: skip
    link.execute("COMMIT")
    began = time.perf_counter()
    at = 0
    while at < number:
        at = _step(link, at, batch)
    seconds = time.perf_counter() - began
    link.close()
    return number / seconds


def _step(link: sqlite3.Connection, at: int, batch: int) -> int:
    rows = link.execute("SELECT seq, body FROM log WHERE seq > ? ORDER BY seq LIMIT ?", (at, batch)).fetchall()
    read = [msgspec.msgpack.decode(body, type=Event) for _, body in rows]
    link.execute("BEGIN IMMEDIATE")
    link.executemany(
        "INSERT INTO handled VALUES (?, ?) ON CONFLICT DO NOTHING", [(each.source, each.id) for each in read]
    )  # fmt: skip
    link.execute("UPDATE position SET seq = ? WHERE name = 'bench'", (rows[-1][0],))
    link.execute("COMMIT")
    return int(rows[-1][0])


def syncs(folder: Path) -> float:
    """How many times a second this disk syncs a write of one page."""
    with (folder / "sync").open("wb") as file:
        began = time.perf_counter()
        for _ in range(200):
            file.write(b"x" * 4_096)
            file.flush()
            os.fdatasync(file.fileno())
        return 200 / (time.perf_counter() - began)


def round_of(folder: Path, number: int, seconds: float, *, sync: bool) -> dict[str, float]:
    """Every measure once, on new files."""
    found = {"syncs_per_second": syncs(folder)}
    for name, batch, some in (("batches", 500, number), ("one_by_one", 1, number // 2)):
        rate, published = uvloop.run(drained(f"sqlite://{folder}/d{batch}.db", some, batch=batch, sync=sync))
        beside = uvloop.run(through(f"sqlite://{folder}/t{batch}.db", some, batch=batch, sync=sync))
        few = some if batch > 1 else min(some, 2_000)
        (folder / f"raw{batch}").mkdir()
        alone = raw(folder / f"raw{batch}", few, batch=batch, sync=sync)
        found |= {
            f"{name}_per_second": rate,
            f"{name}_while_published_per_second": beside,
            f"{name}_by_hand_per_second": alone,
        }
        if batch > 1:
            found["published_per_second"] = published
    if sync:  # the house always does
        spread = statistics.quantiles(uvloop.run(delays(folder / "house", 500, seconds)), n=100)
        found |= {"delay_p50_ms": spread[49] * 1e3, "delay_p99_ms": spread[98] * 1e3}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--events", type=int, default=40_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-sync", action="store_true")
    given = parser.parse_args()
    found: dict[str, list[float]] = {}
    for number in range(given.rounds):
        with tempfile.TemporaryDirectory(dir=given.folder, prefix="stanchion-bench-") as name:
            figures = round_of(Path(name), given.events, given.seconds, sync=not given.no_sync)
        print(number, {key: round(value, 2) for key, value in figures.items()}, file=sys.stderr)
        for key, value in figures.items():
            found.setdefault(key, []).append(value)
    middle = {key: round(statistics.median(values), 2) for key, values in found.items()}
    print(json.dumps({"cores": os.cpu_count(), "fsync": not given.no_sync, "events": given.events, **middle}))


if __name__ == "__main__":
    main()
