"""Systems with scripted upstreams on this machine: as a library, and served over HTTP for stock clients."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn

from stanchion.app.http.build import build_app
from stanchion.core.security.contract import Keys
from stanchion.system import System
from stanchion.testing import offline
from stanchion.testing.upstreams import Upstream, upstream

Declare = Callable[[System, dict[str, Upstream]], None]


@dataclass
class Servers:
    """A served gateway: its address, a key, and the upstreams behind it."""

    url: str
    key: str
    upstreams: dict[str, Upstream]
    run: Any = None
    call: Callable[[Callable[[], Any]], Any] = field(default=lambda work: work())


@asynccontextmanager
async def serving(declare: Declare, **families: Any) -> AsyncIterator[Servers]:
    """A system with one upstream for each family, `name=(family, script, options)`, served at a free port."""
    async with AsyncExitStack() as stack:
        ups = {}
        for name, (family, script, options) in families.items():
            ups[name] = await stack.enter_async_context(upstream(family, script, **options))
        app = System("gateway")
        declare(app, ups)
        run = await stack.enter_async_context(offline(app))
        key = await run.door(Keys).create(run.ctx, name="client", roles=["predictor"])
        bound = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(build_app(run.house, console=False), lifespan="off", log_config=None, access_log=False)
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None
        task = asyncio.create_task(server._serve(sockets=[bound]))
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            yield Servers(f"http://127.0.0.1:{bound.getsockname()[1]}", key.secret, ups, run)
        finally:
            server.should_exit = True
            await task
            bound.close()


@contextmanager
def _in_thread(declare: Declare, **families: Any) -> Iterator[Servers]:
    """The same in a thread of its own, for clients that block."""
    ready, ends = threading.Event(), threading.Event()
    found: list[Any] = []

    async def main() -> None:
        async with serving(declare, **families) as servers:
            found.append(servers)
            ready.set()
            await asyncio.to_thread(ends.wait)

    def work() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            found.append(error)
            ready.set()
            raise

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert ready.wait(60)
        assert isinstance(found[0], Servers), found[0]
        yield found[0]
    finally:
        ends.set()
        thread.join(60)


@pytest.fixture(scope="session")
def in_thread() -> Callable[..., Any]:
    return _in_thread


@pytest.fixture(scope="session")
def served() -> Callable[..., Any]:
    return serving
