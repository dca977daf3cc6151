"""Handles messages of a NATS stream with FastStream: the rival's side of benchmarks/events/brokers.py.

Run with FastStream's own Python: handle.py URL NUMBER PUSH|PULL|BATCH. It fills a new stream, then prints one JSON
object: messages a second from the subscriber's start to the last acknowledgement, and this process's CPU for one in
microseconds. Its log is off; 64 messages are in hand at once, or a hundred make a batch.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from itertools import count
from typing import Any

import uvloop
from faststream.nats import JStream, NatsBroker, PullSub

PAGE = 500
BATCH = 100
AT_ONCE = 64
PAD = "x" * 440
JSON = {"content-type": "application/json"}


async def filled(broker: NatsBroker, name: str, number: int) -> Any:
    """A new stream with so many messages; its context."""
    client = await broker.connect()
    js = client.jetstream()
    await js.add_stream(name=name, subjects=[f"{name}.*"])
    for start in range(0, number, PAGE):
        made = [json.dumps({"number": each, "pad": PAD}).encode() for each in range(start, min(number, start + PAGE))]
        await asyncio.gather(*[await js.publish_async(f"{name}.a", body, headers=JSON) for body in made])
    return js


async def acknowledged(js: Any, name: str) -> None:
    """Return when the server knows of every message's end."""
    for _ in count():
        found = await js.consumer_info(name, "c")
        if not (found.num_ack_pending or found.num_pending):
            return
        await asyncio.sleep(0.01)


async def main(url: str, number: int, way: str) -> None:
    broker = NatsBroker(url, logger=None)
    name = f"rival{time.time_ns()}"
    js = await filled(broker, name, number)
    done, ended = 0, asyncio.Event()

    def add(more: int) -> None:
        nonlocal done
        done += more
        if done >= number:
            ended.set()

    stream = JStream(name, declare=False)
    about: dict[str, Any] = {"stream": stream, "durable": "c"}
    if way == "batch":

        @broker.subscriber(f"{name}.a", pull_sub=PullSub(batch_size=BATCH, batch=True), **about)
        async def several(body: list[dict[str, Any]]) -> None:
            add(len(body))

    else:
        how = {"pull_sub": PullSub(batch_size=AT_ONCE)} if way == "pull" else {"max_workers": AT_ONCE}

        @broker.subscriber(f"{name}.a", **how, **about)
        async def single(body: dict[str, Any]) -> None:
            add(1)

    wall, cpu = time.perf_counter(), time.process_time()
    await broker.start()
    async with asyncio.timeout(300):
        await ended.wait()
        await acknowledged(js, name)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    await js.delete_stream(name)
    await broker.stop()
    print(json.dumps({"per_second": number / wall, "cpu_us": cpu / number * 1e6}))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3].lower()))
