"""What of an exact cache hit is the gateway's, and what is the door's in front of it.

Run: python benchmarks/gateway/kept.py [--rounds 50] [--calls 400]. The application of `stanchion run` is called in one
process without sockets and without an HTTP server: a hit, a route behind the same door that answers the same bytes at
once, and the bare handler of passing.py. Told is the processor time of the event loop's thread for each call, the least
of the rounds: work beside it on the machine only ever adds. The ledger's writing thread is not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib.util
import json
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import passing
import sides
import uvloop
from sides import CHAT, chat
from starlette.routing import Route

from stanchion.app.http.build import build_app
from stanchion.core.http.routes import Routes
from stanchion.core.security.contract import Keys
from stanchion.system import System
from stanchion.testing import offline

App = Callable[..., Awaitable[None]]
AT_ONCE = "/v1/at-once"
WARM, BREATH = 300, 0.02


def declared() -> System:
    """The benchmark's system file."""
    spec = importlib.util.spec_from_file_location("gateway_system", sides.SYSTEM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: System = module.app
    return found


class AtOnce:
    """What a route costs that does nothing: an application, as the gateway's own endpoints are."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = passing.WHOLE.partition(b"\r\n\r\n")[2]
        head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body})


async def called(app: App, path: str, key: str, body: bytes) -> None:
    """One call. Raises RuntimeError unless it is answered 200."""
    length = str(len(body)).encode()
    given = {b"host": b"127.0.0.1", b"authorization": key.encode(), b"content-type": b"application/json"}
    place = {"path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "scheme": "http"}
    about = {"type": "http", "http_version": "1.1", "method": "POST", "asgi": {"version": "3.0"}}
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        return left.pop() if left else await asyncio.get_running_loop().create_future()

    async def send(message: dict[str, Any]) -> None:
        if message.get("status", 200) != 200:
            raise RuntimeError(f"{path} was answered {message['status']}")

    headers = [*given.items(), (b"content-length", length)]
    await app({**about, **place, "headers": headers}, receive, send)


async def least(app: App, path: str, key: str, body: bytes, *, rounds: int, calls: int) -> float:
    """Microseconds of the loop's thread for a call."""
    for _ in range(WARM):
        await called(app, path, key, body)
    gc.collect()
    gc.freeze()
    found = []
    for _ in range(rounds):
        await asyncio.sleep(BREATH)  # what the calls left behind, such as rows to write, is not theirs
        began = time.thread_time()
        for _ in range(calls):
            await called(app, path, key, body)
        found.append((time.thread_time() - began) / calls * 1e6)
    return min(found)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--calls", type=int, default=400)
    asked = parser.parse_args()
    body, much = chat("route:kept"), {"rounds": asked.rounds, "calls": asked.calls}
    with sides.upstream() as behind:
        os.environ |= {"BENCH_UPSTREAM": behind.url, "BENCH_UPSTREAM_KEY": "none"}
        os.environ.pop("BENCH_PRIVACY", None)
        async with offline(declared()) as run, passing.aiohttp.ClientSession() as session:
            made = await run.door(Keys).create(run.ctx, name="client", roles=["predictor"])
            key = f"Bearer {made.secret}"
            bare = await least(passing.application("", session), "/bare", key, body, **much)
            app = build_app(run.house, console=False)
            hit = await least(app, CHAT, key, body, **much)
            hot = Routes(hot=[Route(AT_ONCE, AtOnce(), methods=["POST"])])
            run.house.modules["gateway"] = replace(run.house.modules["gateway"], routes=lambda door: hot)
            door = await least(build_app(run.house, console=False), AT_ONCE, key, body, **much)
    told = {"bare_us": bare, "door_us": door, "hit_us": hit, "gateway_us": hit - door}
    print(json.dumps({"benchmark": "gateway/kept", **{name: round(each, 1) for name, each in told.items()}}))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
