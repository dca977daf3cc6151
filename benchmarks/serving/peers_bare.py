"""The least that could serve the model: two Starlette routes in uvicorn, without caller, gate, ledger or trace.

Run: python benchmarks/serving/peers_bare.py PACKAGE. It listens as Stanchion does (uvicorn with the same options on
uvloop and httptools) on a free port, and prints one line when it is ready.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from pathlib import Path

import uvicorn
import uvloop
from peers_plain import Plain
from peers_row import INFER, PREDICTIONS
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def application(package: Path) -> Starlette:
    model = Plain(package)

    async def predict(request: Request) -> Response:
        return Response(model.answer(await request.body()), media_type="application/json")

    async def infer(request: Request) -> Response:
        return Response(model.infer(await request.body()), media_type="application/json")

    return Starlette(routes=[Route(PREDICTIONS, predict, methods=["POST"]), Route(INFER, infer, methods=["POST"])])


async def serve(package: Path) -> None:
    bound = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        application(package),
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
        runner.run(serve(Path(sys.argv[1])))
