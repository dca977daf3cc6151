"""The least that could stand before a model: Starlette and aiohttp pass bytes through, and a bare handler.

Run: python benchmarks/gateway/passing.py UPSTREAM. A request to any path of the upstream's is passed on to it, and its
answer given back as it comes: no caller is checked, nothing is read, counted or recorded. `/bare` answers from a
dictionary by the body. It listens as Stanchion does: uvicorn with the same options on uvloop and httptools.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator

import aiohttp
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from upstream import WHOLE

CONNECTIONS = 64
_JSON = {"content-type": "application/json"}


def application(upstream: str, session: aiohttp.ClientSession) -> Starlette:
    kept: dict[bytes, bytes] = {}

    async def passed(request: Request) -> Response:
        url, body = upstream + request.url.path, await request.body()
        answer = await session.post(url, data=body, headers=_JSON)
        if answer.content_type == "text/event-stream":
            return StreamingResponse(_pieces(answer), status_code=answer.status, media_type="text/event-stream")
        async with answer:
            return Response(await answer.read(), status_code=answer.status, media_type="application/json")

    async def bare(request: Request) -> Response:
        body = await request.body()
        if (found := kept.get(body)) is None:
            found = kept[body] = WHOLE.partition(b"\r\n\r\n")[2]
        return Response(found, media_type="application/json")

    return Starlette(
        routes=[Route("/bare", bare, methods=["POST"]), Route("/{rest:path}", passed, methods=["POST"])],
    )


async def _pieces(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    async with answer:
        async for piece in answer.content.iter_any():
            yield piece


async def serve(upstream: str) -> None:
    bound = socket.create_server(("127.0.0.1", 0))
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        config = uvicorn.Config(
            application(upstream, session),
            http="httptools",
            loop="none",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
        )
        print(json.dumps({"event": "ready", "url": f"http://127.0.0.1:{bound.getsockname()[1]}"}), flush=True)
        await uvicorn.Server(config).serve(sockets=[bound])


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(sys.argv[1]))
