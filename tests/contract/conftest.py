"""A service as another process sees it: behind its gate, served over loopback, called through the remote client."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context, Effect
from stanchion.core.contract import Action
from stanchion.core.errors import NotAuthenticated
from stanchion.core.gate import Authoriser, Gate, Instruments, Recorder
from stanchion.core.remote import Inspector, Issuer, Line, connect, serve


class Anybody(Authoriser):
    """Permits everything."""

    @property
    def generation(self) -> int:
        return 0

    def permits(self, ctx: Context, action: Action, resource: str) -> bool:
        return True


class Nowhere(Recorder, Instruments):
    """Keeps nothing."""

    async def record(self, effect: Effect, outcome: str) -> None:
        pass

    def observe(self, action: str, outcome: str, seconds: float) -> None:
        pass

    @contextmanager
    def span(self, ctx: Context, name: str, resource: str) -> Iterator[Context]:
        yield ctx

    def fault(self, ctx: Context, action: str, error: Exception) -> None:
        raise AssertionError(f"{action} failed with an error outside the tree") from error


class Passports(Issuer, Inspector):
    """Passports kept in a table instead of signed."""

    def __init__(self) -> None:
        self._issued: dict[str, Context] = {}

    def issue(self, ctx: Context, audience: str) -> str:
        self._issued[ctx.request_id] = ctx
        return ctx.request_id

    def inspect(self, passport: str, peer: str | None) -> Context:
        if passport not in self._issued:
            raise NotAuthenticated("unknown passport")
        return self._issued[passport]


@asynccontextmanager
async def _far(name: str, contract: type[Any], service: object) -> AsyncIterator[Any]:
    nowhere, passports = Nowhere(), Passports()
    gate = Gate(authoriser=Anybody(), recorder=nowhere, instruments=nowhere, clock=SystemClock())
    app = Starlette(routes=serve(name, contract, gate.wrap(contract, service), passports))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, access_log=False))
    bound = socket.create_server(("127.0.0.1", 0))
    task = asyncio.create_task(server.serve(sockets=[bound]))
    while not server.started:
        await asyncio.sleep(0)
    url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    line = Line(url, audience="far", issuer=passports, clock=SystemClock())
    try:
        yield connect(name, contract, line)
    finally:
        await line.close()
        server.should_exit = True
        await task


@pytest.fixture
def far() -> Callable[[str, type[Any], object], AbstractAsyncContextManager[Any]]:
    """Serves a service of a contract, and gives the client of it."""
    return _far
