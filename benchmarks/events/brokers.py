"""Handlers over a broker beside its bare client, and beside FastStream on NATS.

Run: python benchmarks/events/brokers.py [--events N] [--rounds N] [--only nats|redis]. Messages are of the same size,
their JSON is read on every side, and all sides acknowledge alike: in batches of a hundred, or each message by itself
with up to 64 in hand, known to be acknowledged before its place is free. Bare: the broker's own client (Redis: consumer
group, an XACK of a hundred or of one; NATS: pull consumer, whose acknowledgements are of one message always: in batches
without an answer, which may be lost, singly with one). Ours: a declared handler's
effectively-once commit in SQLite (durable: WAL, synchronous=FULL), positions and deduplication in it, the sealed author
checked. FastStream, installed by benchmarks/rivals/install.py, acknowledges and keeps nothing. All run on uvloop. The
broker is a private process: NATS writes before it answers and syncs to disk by its own default interval; Redis has
appendonly on with appendfsync always. CPU is the handling process's, all threads. The last line is one JSON document.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

from stanchion.events import Event, HandlerSpec
from stanchion.testing.events import caller, running, sqlite_url

RIVALS = Path(__file__).resolve().parents[1] / "rivals"
sys.path.insert(0, str(RIVALS))
import install  # noqa: E402 - lies beside the rivals

PAGE = 500
BATCH = 100
AT_ONCE = 64
WAYS = ("push", "pull", "batch")
Figures = dict[str, float]
PAD = "x" * 440


def values(number: int) -> bytes:
    """The data of an event, 500 bytes with its envelope."""
    return json.dumps({"number": number, "pad": PAD}).encode()


@contextmanager
def broker(kind: str, folder: Path) -> Iterator[str]:
    """A private server; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    if kind == "nats":
        command = ["nats-server", "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(folder)]
        url = f"nats://127.0.0.1:{port}"
    else:
        keeps = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), *keeps]
        url = f"redis://127.0.0.1:{port}/0"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.05)
        yield url
    finally:
        process.kill()
        process.wait()


async def timed(work: Callable[[], Awaitable[None]], number: int) -> Figures:
    """Events a second, and this process's CPU for one in microseconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    await work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"per_second": number / wall, "cpu_us": cpu / number * 1e6}


class Hands:
    """Up to 64 messages at once, each a task of its own; all are over when it is left."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    async def take(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin it when there is room."""
        await self._room.acquire()
        self._tasks.add(task := asyncio.create_task(work))
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._room.release()
        self._tasks.discard(task)

    async def __aenter__(self) -> Hands:
        return self

    async def __aexit__(self, *told: object) -> None:
        await asyncio.gather(*self._tasks)


async def bare_nats(url: str, number: int, batch: int) -> Figures:
    import nats
    from nats.js.api import AckPolicy, ConsumerConfig, StreamConfig

    client = await nats.connect(url)
    js = client.jetstream()
    name = f"bare{time.time_ns()}"
    await js.add_stream(StreamConfig(name=name, subjects=[f"{name}.*"]))
    for start in range(0, number, PAGE):
        ends = min(number, start + PAGE)
        await asyncio.gather(*[await js.publish_async(f"{name}.a", values(each)) for each in range(start, ends)])
    await js.add_consumer(name, ConsumerConfig(durable_name="c", ack_policy=AckPolicy.EXPLICIT, max_ack_pending=10_000))
    reader = await js.pull_subscribe_bind(consumer="c", stream=name)

    async def unanswered(message: Any) -> None:
        json.loads(message.data)
        await message.ack()

    async def answered(message: Any) -> None:
        json.loads(message.data)
        await message.ack_sync(timeout=30)

    async def work() -> None:
        done = 0
        async with Hands() as hands:
            while done < number:
                messages = await reader.fetch(min(BATCH, number - done), timeout=5)
                done += len(messages)
                for message in messages:
                    if batch > 1:
                        await unanswered(message)
                    else:
                        await hands.take(answered(message))
        await client.flush()

    found = await timed(work, number)
    await js.delete_stream(name)
    await client.close()
    return found


async def bare_redis(url: str, number: int, batch: int) -> Figures:
    from redis.asyncio import Redis

    async with Redis.from_url(url, protocol=2) as server:
        name = f"bare{time.time_ns()}"
        for start in range(0, number, PAGE):
            async with server.pipeline(transaction=False) as pipeline:
                for each in range(start, min(number, start + PAGE)):
                    pipeline.xadd(name, {"b": values(each)})
                await pipeline.execute()
        await server.xgroup_create(name, "g", id="0")

        async def pages() -> AsyncIterator[Sequence[tuple[bytes, dict[bytes, bytes]]]]:
            done = 0
            while done < number:
                ((_, rows),) = await server.xreadgroup("g", "c", {name: ">"}, count=BATCH)
                yield rows
                done += len(rows)

        async def together() -> None:
            async for rows in pages():
                for _, fields in rows:
                    json.loads(fields[b"b"])
                await server.xack(name, "g", *[identity for identity, _ in rows])

        async def one(identity: bytes, fields: dict[bytes, bytes]) -> None:
            json.loads(fields[b"b"])
            await server.xack(name, "g", identity)

        async def singly() -> None:
            async with Hands() as hands:
                async for rows in pages():
                    for identity, fields in rows:
                        await hands.take(one(identity, fields))

        work = together if batch > 1 else singly
        found = await timed(work, number)
        await server.delete(name)
    return found


async def handled(kind: str, url: str, number: int, batch: int, folder: Path) -> Figures:
    """The same events through a declared handler."""
    done, ended = 0, asyncio.Event()

    async def take(ctx: Any, events: Any, commit: Any) -> None:
        nonlocal done
        done += len(events) if batch > 1 else 1
        if done >= number:
            ended.set()

    spec = HandlerSpec(name="bench", types=("bench.made",), function=take, data=dict[str, Any], batch=batch)
    ctx = caller()

    place = f"{url}?name=bench{time.time_ns()}"
    async with running(sqlite_url(folder), spec, durable=True, bus=kind, url=place, backlog=10 * number) as events:
        await events.pause(ctx, "bench")
        for start in range(0, number, PAGE):
            made = [
                Event(type="bench.made", source="bench", subject=f"k{each % 200}", data=values(each))
                for each in range(start, min(number, start + PAGE))
            ]
            await events.publish(ctx, made)
        await asyncio.sleep(1)  # what was read before the pause is over

        async def work() -> None:
            await events.resume(ctx, "bench")
            await ended.wait()
            while True:
                if not any(view.running or view.behind for view in await events.consumers(ctx)):
                    break
                await asyncio.sleep(0.01)

        return await timed(work, number)


def faststream(python: Path, url: str, number: int, way: str) -> Figures:
    """The same messages through FastStream, in a process of its own. Raises RuntimeError with the end of its stderr."""
    command = [str(python), "-W", "ignore", str(RIVALS / "faststream" / "handle.py"), url, str(number), way]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=400)
    if ran.returncode != 0:
        raise RuntimeError(ran.stderr[-500:])
    found: Figures = json.loads(ran.stdout.rpartition("{")[1] + ran.stdout.rpartition("{")[2])
    return found


def rival() -> tuple[Path | None, str]:
    """FastStream's own Python, or None and why."""
    try:
        return install.install("faststream"), ""
    except subprocess.CalledProcessError as error:
        return None, f"not installed: {str(error.stderr or error.stdout)[-500:]}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, str(error)[-500:]


def round_of(kind: str, url: str, number: int, folder: Path, python: Path | None) -> dict[str, Figures]:
    """Every side once."""
    bare = {"nats": bare_nats, "redis": bare_redis}[kind]
    found: dict[str, Figures] = {}
    for name, batch in (("batches", BATCH), ("one_by_one", 1)):
        (folder / name).mkdir(parents=True)
        found[f"bare_{name}"] = uvloop.run(bare(url, number, batch))
        found[name] = uvloop.run(handled(kind, url, number, batch, folder / name))
    for way in WAYS if python is not None and kind == "nats" else ():
        found[f"faststream_{way}"] = faststream(python, url, number, way)  # type: ignore[arg-type]  # asked in the loop's head
    return found


def measured(kind: str, number: int, rounds: int) -> dict[str, Any]:
    """Medians over the rounds, and the ratios between the sides of them."""
    python, missing = rival() if kind == "nats" else (None, "")
    sides: dict[str, list[Figures]] = {}
    with tempfile.TemporaryDirectory(prefix="stanchion-bench-") as place, broker(kind, Path(place)) as url:
        for round_ in range(rounds):
            found = round_of(kind, url, number, Path(place) / f"round{round_}", python)
            for side, figures in found.items():
                sides.setdefault(side, []).append(figures)
            print(kind, round_, {side: round(each["per_second"]) for side, each in found.items()}, file=sys.stderr)
    middle = {
        side: {name: median(each[name] for each in figures) for name in ("per_second", "cpu_us")}
        for side, figures in sides.items()
    }
    told: dict[str, Any] = {
        side: {name: round(each, 1) for name, each in both.items()} for side, both in middle.items()
    }
    for name in ("batches", "one_by_one"):
        told[f"{name}_of_bare"] = round(middle[name]["per_second"] / middle[f"bare_{name}"]["per_second"], 2)
    if kind == "nats":
        rate = middle["bare_batches"]["per_second"]
        told["one_by_one_of_unanswered"] = round(middle["one_by_one"]["per_second"] / rate, 2)
    for way in WAYS if python is not None else ():
        ours = middle["batches" if way == "batch" else "one_by_one"]["cpu_us"]
        told[f"cpu_of_faststream_{way}"] = round(ours / middle[f"faststream_{way}"]["cpu_us"], 2)
    return told | ({"missing": missing} if missing else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["nats", "redis"])
    given = parser.parse_args()
    wanted = [given.only] if given.only else ["nats", "redis"]
    kinds = [kind for kind in wanted if shutil.which(f"{kind}-server")]
    answer: dict[str, Any] = {kind: measured(kind, given.events, given.rounds) for kind in kinds}
    if "nats" in kinds:
        answer["faststream"] = install.version("faststream", "faststream")
    print(json.dumps({"cores": os.cpu_count(), "events": given.events, **answer}))


if __name__ == "__main__":
    main()
