"""Runs the listeners: the public one, and the mesh's where other processes call this one's modules."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import uvicorn

from ..core.errors import Misconfigured
from .http.protocol import PublicProtocol

if TYPE_CHECKING:
    from starlette.types import ASGIApp


# Many messages of one connection are held at once, of which each may be that long: far less than one body may be.
MESSAGE_BYTES = 1 << 20
# How many more objects there must be than at the last collection of the young, and how many of those before older ones.
COLLECTING = (10_000, 20, 50)


class Companion(Protocol):
    """A listener of another kind, which starts and drains with the others."""

    async def start(self) -> None:
        """Begin to answer."""
        ...

    async def stop(self, seconds: float) -> None:
        """Take no more calls, and return once those under way are done or so many seconds have passed."""
        ...


@dataclass(frozen=True, slots=True)
class Listener:
    """One bound socket and the application behind it; `protocol` is uvicorn's HTTP protocol class.

    `socket_protocol` is who speaks WebSocket there, if anybody does, in messages of at most `message_bytes`.
    """

    app: ASGIApp
    socket: socket.socket
    tls: ssl.SSLContext | None = None
    protocol: type[asyncio.Protocol] = PublicProtocol
    socket_protocol: Literal["none", "websockets-sansio"] = "none"
    message_bytes: int = MESSAGE_BYTES

    @property
    def port(self) -> int:
        """The port that was bound."""
        port: int = self.socket.getsockname()[1]
        return port


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to the address. Raises Misconfigured if that cannot be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise _taken(host, port, error) from error
    return bound


class _Server(uvicorn.Server):
    """A uvicorn server whose signals are handled once, for all listeners, by `run`; `listening` tells that it began."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _server(listener: Listener, drain_seconds: float) -> _Server:
    config = uvicorn.Config(
        listener.app,
        http=listener.protocol,
        loop="none",
        ws=listener.socket_protocol,
        ws_max_size=listener.message_bytes,
        # Compressed messages would make a small one large again; answers here are small.
        ws_per_message_deflate=False,
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=round(drain_seconds),
        ssl_context_factory=None if listener.tls is None else _context(listener.tls),
    )
    return _Server(config)


def _context(tls: ssl.SSLContext) -> Callable[..., ssl.SSLContext]:
    def factory(*_: Any) -> ssl.SSLContext:
        return tls

    return factory


async def run(
    listeners: Sequence[Listener],
    *,
    drain_seconds: float,
    ready: Callable[[], Any],
    draining: Callable[[], None],
    companions: Sequence[Companion] = (),
) -> None:
    """Serve until SIGTERM or SIGINT, then let running requests finish. Awaits `ready()` once all listen.

    Raises Misconfigured if another program took an address since it was bound.
    """
    for listener in listeners:
        _listen(listener.socket)
    servers = [_server(listener, drain_seconds) for listener in listeners]
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    try:
        async with asyncio.TaskGroup() as group:
            for server, listener in zip(servers, listeners, strict=True):
                group.create_task(server.serve(sockets=[listener.socket]))
            for server in servers:
                await server.listening.wait()
            for companion in companions:
                await companion.start()
            # What was made to get here stays. A full collection would look at all of it, for a tenth of a second in
            # which nothing is answered. And requests leave next to no circles behind: to look for them as often as
            # Python does by itself is a tenth and more of what a call costs.
            gc.collect()
            gc.freeze()
            gc.set_threshold(*COLLECTING)
            await ready()
            await stop.wait()
            draining()
            for server in servers:
                server.should_exit = True
            for companion in companions:
                group.create_task(companion.stop(drain_seconds))
    finally:
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(name)


def _listen(bound: socket.socket) -> None:
    # Two programs may bind one address while neither listens, such as two first starts that both train.
    try:
        bound.listen()
    except OSError as error:
        host, port = bound.getsockname()[:2]
        raise _taken(host, port, error) from error


def _taken(host: str, port: int, error: OSError) -> Misconfigured:
    return Misconfigured(
        f"cannot listen on {host}:{port}: {error.strerror}",
        next_step="Stop the program that listens there, or choose another port with --port (0: any free one).",
    )
