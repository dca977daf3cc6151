"""The real-time path under a steady stream: 99th percentiles of cache, features, model and the whole.

Run: python benchmarks/serving/real_time.py [--rate 100] [--seconds 20]. One server with real_time_system.py: ten
sliding windows of 200 customers and a transform, a response cache, 100 trees on 20 numbers, a rule. Calls come at a
fixed rate whether or not earlier ones are answered (an open loop), over 32 kept connections; the time of a call runs
from the moment at which it was due, so that a server that stalls is not asked less. Of twenty calls nine repeat earlier
ones, ten are new, and one holds 100 instances of 100 customers. The stages are those the answer tells of itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from peers_row import PREDICTIONS
from process import CONNECTIONS, Server, stanchion

HERE = Path(__file__).resolve().parent
SYSTEM = HERE / "real_time_system.py"
MODEL = "payment"
CUSTOMERS, EVENTS = 200, 20
HOT = 50
WARM_SECONDS = 3


@dataclass(slots=True)
class Call:
    """One call of the stream: what kind, when it was due, how late it was asked and how long it took; what came."""

    kind: str
    body: bytes
    due: float = 0.0
    late: float = 0.0
    seconds: float = 0.0
    answer: bytes = b""


class Link:
    """One kept connection that asks one thing at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        self._reader, self._writer, self._head = reader, writer, head

    async def ask(self, body: bytes) -> bytes:
        """The answer's body. Raises RuntimeError unless it is a success."""
        self._writer.write(self._head + b"content-length: %d\r\n\r\n" % len(body) + body)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        answer = await self._reader.readexactly(length)
        if b" 200 " not in head.split(b"\r\n", 1)[0]:
            raise RuntimeError(f"answered {head[:40].decode()!r}: {answer[:500].decode()}")
        return answer

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


def instance(number: int, customer: int) -> dict[str, Any]:
    """A payment like no other one of another number."""
    own = {f"x{place}": (number * (place + 3) % 101 - 50) / 25 for place in range(8)}
    return {"customer": f"c{customer % CUSTOMERS}", "amount": 10 + number / 16, **own}


def calls(count: int, first: int) -> list[Call]:
    """The stream, in order: of every twenty calls nine repeated ones, ten new ones and one of a hundred instances."""
    made = []
    for number in range(count):
        unique = first + number
        place = number % 20
        if place == 10:
            body: dict[str, Any] = {"instances": [instance(unique * 100 + each, unique + each) for each in range(100)]}
            kind = "hundred"
        elif place % 2 == 0:
            # Negative numbers: the new ones never meet them.
            body, kind = {"features": instance(-1 - number // 2 % HOT, number // 2 % HOT)}, "repeated"
        else:
            body, kind = {"features": instance(unique * 100, unique)}, "new"
        made.append(Call(kind, json.dumps({"model_id": MODEL, "explain": "timing", **body}).encode()))
    return made


async def stream(server: Server, asked: list[Call], rate: float, path: str = PREDICTIONS) -> None:
    """Ask each at its moment; a call for which no connection is free waits, and its time runs."""
    place = urlsplit(server.url)
    head = (
        f"POST {path} HTTP/1.1\r\nhost: {place.netloc}\r\nauthorization: Bearer {server.key}\r\n"
        "content-type: application/json\r\n"
    ).encode()
    links = [
        Link(*await asyncio.open_connection(str(place.hostname), place.port, limit=1 << 22), head)
        for _ in range(CONNECTIONS)
    ]
    waiting: asyncio.Queue[Call] = asyncio.Queue()

    async def work(link: Link) -> None:
        while True:
            call = await waiting.get()
            call.answer = await link.ask(call.body)
            call.seconds = time.perf_counter() - call.due
            waiting.task_done()

    async def due() -> None:
        began = time.perf_counter()
        for number, call in enumerate(asked):
            call.due = began + number / rate
            if (ahead := call.due - time.perf_counter()) > 0:
                await asyncio.sleep(ahead)
            call.late = time.perf_counter() - call.due
            waiting.put_nowait(call)
        await waiting.join()

    try:
        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(work(link)) for link in links]
            await group.create_task(due())
            for each in workers:
                each.cancel()
    finally:
        for link in links:
            link.close()


def percentile(values: list[float], share: float) -> float:
    """The value that so many percent of them do not pass. Raises RuntimeError where there are none."""
    if not values:
        raise RuntimeError("nothing was measured")
    return sorted(values)[min(len(values) - 1, int(len(values) * share / 100))]


def figures(asked: list[Call]) -> dict[str, Any]:
    """The percentiles of whole calls and of stages, in milliseconds."""
    told = [(call, json.loads(call.answer)) for call in asked]
    hits = [answer for _, answer in told if answer["served_by"] == "cache"]
    hundreds = [answer for call, answer in told if call.kind == "hundred"]
    singles = [answer for call, answer in told if call.kind == "new"]
    of = {
        "cache_hit_handler": [answer["latency_ms"] for answer in hits],
        "features_of_100": [answer["timing_ms"]["features"] for answer in hundreds],
        "features_of_1": [answer["timing_ms"]["features"] for answer in singles],
        "model_of_100": [answer["timing_ms"]["ladder"] for answer in hundreds],
        "model": [answer["timing_ms"]["ladder"] for answer in (*singles, *hundreds)],
        "whole": [call.seconds * 1000 for call in asked],
        "whole_of_100": [call.seconds * 1000 for call in asked if call.kind == "hundred"],
        # How late this program itself was: what a busy machine adds to every call.
        "driver_late": [call.late * 1000 for call in asked],
        "whole_of_hits": [call.seconds * 1000 for call, answer in told if answer["served_by"] == "cache"],
    }
    found: dict[str, Any] = {"calls": len(asked), "cache_hits": len(hits)}
    for name, values in of.items():
        found[f"{name}_p50_ms"] = round(percentile(values, 50), 3)
        found[f"{name}_p99_ms"] = round(percentile(values, 99), 3)
    return found


def fill(server: Server) -> None:
    """Push the customers' payments of the last day, as a producer would."""
    now = datetime.now(UTC)
    for first in range(0, CUSTOMERS, 50):
        rows = []
        for customer in range(first, first + 50):
            for event in range(EVENTS):
                at = now - timedelta(minutes=2 + event * 60 + customer % 60)
                key, name = f"c{customer}", f"{customer}-{event}"
                values = {"customer": key, "event": name, "amount": 5.0 + event, "at": at.isoformat()}
                rows.append({"key": key, "values": values, "at": at.isoformat()})
        server.post("/v1/features/habits/push", json.dumps({"rows": rows}).encode())


def prepared(package: Path, data: Path) -> None:
    """Train the trees and register them under the columns of this system, in a process that ends."""
    code = (
        "import sys; from pathlib import Path; import peers_model as model; import real_time_system as system; "
        "package, data = map(Path, sys.argv[1:]); model.write(package); "
        "model.register(package, data, system.Payment, system.Verdict, model=system.MODEL, columns=system.COLUMNS)"
    )
    subprocess.run([sys.executable, "-c", code, package, data], cwd=HERE, check=True, timeout=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rate", type=float, default=100, help="calls a second")
    parser.add_argument("--seconds", type=float, default=20)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stanchion-bench-") as folder:
        data = Path(folder) / "data"
        prepared(Path(folder) / "package", data)
        with stanchion(SYSTEM, data) as server:
            fill(server)
            warm = calls(int(asked.rate * WARM_SECONDS), 0)
            asyncio.run(stream(server, warm, asked.rate))
            counted = calls(int(asked.rate * asked.seconds), len(warm))
            before, began = server.cpu(), time.perf_counter()
            asyncio.run(stream(server, counted, asked.rate))
            busy = (server.cpu() - before) / (time.perf_counter() - began)
    found = {"rate": asked.rate, "server_busy": round(busy, 3), **figures(counted)}
    print(json.dumps({"benchmark": "serving/real_time", **found}))


if __name__ == "__main__":
    main()
