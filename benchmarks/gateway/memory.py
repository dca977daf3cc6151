"""Whether the gateway's memory grows with the requests it has answered and the streams that broke.

Run: python benchmarks/gateway/memory.py [--requests 20000] [--broken 2000] [--whole]. `--whole` is 200,000 requests and
20,000 broken streams. Before the first reading a tenth as many are made, and at least 2,000 and 200, so that pools and
tables are filled. Of three broken streams the client leaves two after their first chunk, and the upstream cuts one off,
which must not end as if it were whole. Every request is another text: a table by content would show. Requests go to the
model of the cut streams, whose breaker stays closed by them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from urllib.parse import urlsplit

import sides
from process import Server
from real_time import Call, stream
from sides import CHAT, chat

RATE = 100_000.0  # more than anybody answers: all connections are always busy
BATCH = 2_000
AT_ONCE = 3  # five cuts in a row would open the breaker, as they should
SETTLE = 3.0


async def wholes(server: Server, count: int, first: int) -> None:
    """Ask so many times, over kept connections."""
    for begin in range(first, first + count, BATCH):
        numbers = range(begin, min(begin + BATCH, first + count))
        await stream(server, [Call("chat", chat("route:frail", prompt=f"Say {n}.")) for n in numbers], RATE, CHAT)


async def broken(server: Server, count: int) -> None:
    """Streams that do not come to their end. Raises RuntimeError where a cut one looks whole."""
    ways = iter((_cut, _left, _left)[number % 3] for number in range(count))

    async def work() -> None:
        for way in ways:
            await way(server)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work())


async def _left(server: Server) -> None:
    reader, writer = await _asked(server, "Say something.")
    await reader.readuntil(b"data: ")
    writer.transport.abort()


async def _cut(server: Server) -> None:
    reader, writer = await _asked(server, "Now break off.")
    answer = await reader.read(-1)
    writer.close()
    if b"data: {" not in answer:
        raise RuntimeError(f"no stream, but {answer[:400]!r}")
    if b"[DONE]" in answer or answer.endswith(b"0\r\n\r\n"):
        raise RuntimeError("a stream that was cut off ended as if it were whole")


async def _asked(server: Server, prompt: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    place, body = urlsplit(server.url), chat("route:frail", stream=True, prompt=prompt)
    reader, writer = await asyncio.open_connection(str(place.hostname), place.port)
    head = f"POST {CHAT} HTTP/1.1\r\nhost: {place.netloc}\r\nauthorization: Bearer {server.key}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    return reader, writer


async def mixed(server: Server, requests: int, streams: int, first: int = 0) -> None:
    """Both in turns, so that the breaker sees more answers than cuts."""
    parts = max(1, streams // 100)
    for part in range(parts):
        await wholes(server, requests // parts, first + part * (requests // parts))
        await broken(server, streams // parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--broken", type=int, default=2_000)
    parser.add_argument("--whole", action="store_true", help="200,000 requests and 20,000 broken streams")
    asked = parser.parse_args()
    requests, streams = (200_000, 20_000) if asked.whole else (asked.requests, asked.broken)
    with sides.upstream() as direct, sides.gateway(direct) as ours:
        warm = max(2_000, requests // 10)
        asyncio.run(mixed(ours, warm, max(200, streams // 10), first=10_000_000))
        time.sleep(SETTLE)
        before = ours.memory()
        asyncio.run(mixed(ours, requests, streams))
        time.sleep(SETTLE)
        after = ours.memory()
    found = {
        "requests": requests,
        "broken_streams": streams,
        "before_mb": round(before, 1),
        "after_mb": round(after, 1),
    }
    print(json.dumps({"benchmark": "gateway/memory", **found, "growth": round(after / before, 4)}))


if __name__ == "__main__":
    main()
