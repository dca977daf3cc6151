"""Handlers over a broker beside its bare client: `python benchmarks/events/brokers.py [--events N] [--rounds N]`.

Bare: messages of the same size, each read and acknowledged by the broker's own client (NATS: pull consumer, an
acknowledgement of each message; Redis: consumer group, XACK of each page). Ours: a declared handler's effectively-once
commit in SQLite (durable: WAL, synchronous=FULL), positions and deduplication in it, the sealed author checked. Both
handlers read the event's JSON. The broker is a private process: NATS writes before it acknowledges and syncs to disk by
its own default interval; Redis has appendonly on with appendfsync always. The last line is one JSON document.
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
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

from stanchion.events import Event, HandlerSpec
from stanchion.testing.events import caller, running, sqlite_url

PAGE = 500
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


async def timed(work: Callable[[], Awaitable[None]], number: int) -> dict[str, float]:
    """Events a second, and this process's CPU for one in microseconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    await work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"per_second": number / wall, "cpu_us": cpu / number * 1e6}


async def bare_nats(url: str, number: int) -> dict[str, float]:
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

    async def work() -> None:
        done = 0
        while done < number:
            for message in await reader.fetch(min(PAGE, number - done), timeout=5):
                json.loads(message.data)
                await message.ack()
                done += 1
        await client.flush()

    found = await timed(work, number)
    await js.delete_stream(name)
    await client.close()
    return found


async def bare_redis(url: str, number: int) -> dict[str, float]:
    from redis.asyncio import Redis

    async with Redis.from_url(url, protocol=2) as server:
        name = f"bare{time.time_ns()}"
        for start in range(0, number, PAGE):
            async with server.pipeline(transaction=False) as pipeline:
                for each in range(start, min(number, start + PAGE)):
                    pipeline.xadd(name, {"b": values(each)})
                await pipeline.execute()
        await server.xgroup_create(name, "g", id="0")

        async def work() -> None:
            done = 0
            while done < number:
                ((_, rows),) = await server.xreadgroup("g", "c", {name: ">"}, count=PAGE)
                for _, fields in rows:
                    json.loads(fields[b"b"])
                await server.xack(name, "g", *[identity for identity, _ in rows])
                done += len(rows)

        found = await timed(work, number)
        await server.delete(name)
    return found


async def handled(kind: str, url: str, number: int, batch: int, folder: Path) -> dict[str, float]:
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


async def measured(kind: str, number: int, rounds: int) -> dict[str, float]:
    bare = {"nats": bare_nats, "redis": bare_redis}[kind]
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="stanchion-bench-") as place, broker(kind, Path(place)) as url:
        for round_ in range(rounds):
            folder = Path(place) / f"round{round_}"
            folder.mkdir()
            sides = {
                "bare": await bare(url, number),
                "batches": await handled(kind, url, number, 100, folder),
            }
            (folder / "one").mkdir()
            sides["one_by_one"] = await handled(kind, url, number, 1, folder / "one")
            for side, figures in sides.items():
                for name, figure in figures.items():
                    found.setdefault(f"{side}_{name}", []).append(figure)
            print(
                kind, round_, {side: round(figures["per_second"]) for side, figures in sides.items()}, file=sys.stderr
            )
    middle = {name: round(median(figures), 1) for name, figures in found.items()}
    ratio = middle["batches_per_second"] / middle["bare_per_second"]
    single = middle["one_by_one_per_second"] / middle["bare_per_second"]
    return middle | {"batches_of_bare": round(ratio, 2), "one_by_one_of_bare": round(single, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["nats", "redis"])
    given = parser.parse_args()
    wanted = [given.only] if given.only else ["nats", "redis"]
    kinds = [kind for kind in wanted if shutil.which(f"{kind}-server")]
    answer = {kind: asyncio.run(measured(kind, given.events, given.rounds)) for kind in kinds}
    print(json.dumps({"cores": os.cpu_count(), "events": given.events, **answer}))


if __name__ == "__main__":
    main()
