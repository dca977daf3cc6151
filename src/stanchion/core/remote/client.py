"""A module in another process, behind the very Protocol by which it is called at home."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from ..clock import Clock
from ..context import Context
from ..contract import Action
from ..errors import DeadlineExceeded, StanchionError, Unavailable
from .codec import HEAD, MAX_FRAME, MEDIA_TYPE, PASSPORT, Kind, Wire, pack_arguments, unpack_error, wires

if TYPE_CHECKING:
    import ssl

    import aiohttp

T = TypeVar("T")
_GRACE_SECONDS = 1.0
"""By how much the far side's own limit goes first, so that its error and not ours tells what happened."""
_PATIENCE_SECONDS = 600.0
"""For an answer to a call that has no limit at all: a far process that is frozen never ends one."""
_ALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}


class Issuer(Protocol):
    """Signs the caller's Context for one process that will act on it."""

    def issue(self, ctx: Context, audience: str) -> str:
        """A passport for the process with this identity; short-lived, bound to `ctx`."""
        ...


class Line:
    """The connection to one far process. Shared by all contracts placed there.

    A far side that takes no connection within `connect_seconds` counts as one that cannot be reached.
    """

    def __init__(
        self,
        url: str,
        *,
        audience: str,
        issuer: Issuer,
        clock: Clock,
        tls: ssl.SSLContext | None = None,
        connect_seconds: float = 5.0,
    ) -> None:
        self.url = url.rstrip("/")
        self.audience = audience
        self.issuer = issuer
        self.clock = clock
        self._tls = tls
        self._connect_seconds = connect_seconds
        self._session: aiohttp.ClientSession | None = None

    def session(self) -> aiohttp.ClientSession:
        """The connection pool, made at first use inside the running loop."""
        import aiohttp

        if self._session is None or self._session.closed:
            connector = aiohttp.TCPConnector(
                limit=256, ssl=self._tls if self._tls is not None else True, socket_factory=watched_socket
            )
            self._session = aiohttp.ClientSession(connector=connector, trust_env=False, auto_decompress=False)
        return self._session

    async def close(self) -> None:
        """Close the pool."""
        if self._session is not None:
            await self._session.close()

    def headers(self, ctx: Context) -> dict[str, str]:
        return {PASSPORT: self.issuer.issue(ctx, self.audience), "content-type": MEDIA_TYPE}

    def timeout(self, ctx: Context, action: Action, *, otherwise: float | None) -> aiohttp.ClientTimeout:
        """The time for the call: what the caller or the method leaves, else `otherwise`.

        Raises DeadlineExceeded if no time is left.
        """
        import aiohttp

        total = self._seconds(ctx, action, otherwise)
        return aiohttp.ClientTimeout(total=total, sock_connect=self._connect_seconds)

    def _seconds(self, ctx: Context, action: Action, otherwise: float | None) -> float | None:
        own = otherwise if action.seconds is None else action.seconds + _GRACE_SECONDS
        if ctx.deadline is None:
            return own
        left = ctx.deadline - self.clock.monotonic()
        if left <= 0:
            raise DeadlineExceeded("no time was left before the remote call began")
        return left if own is None else min(left, own)


def watched_socket(address: tuple[Any, ...]) -> socket.socket:
    """A socket that learns within half a minute that the far machine is gone.

    Without this a stream that waits for news would wait for ever on a machine that lost its power.
    """
    family, kind, protocol = address[:3]
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _ALIVE.items():
        # Not every system lets these be set; it then has times of its own.
        if hasattr(socket, name):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return made


def connect(name: str, contract: type[T], line: Line) -> T:
    """A stand-in for module `name` whose methods travel; it raises what the far service raises.

    A far side that cannot be reached is Unavailable. A read whose kept connection turns out closed is sent
    once more; nothing with an effect is ever sent twice.
    """
    entries = {w.method.name: _stream(w, line) if w.method.streams else _call(w, line) for w in wires(name, contract)}
    stub = type(f"Remote{contract.__name__}", (), entries)
    # The class has every method of the Protocol by construction; no checker can see that.
    return cast(T, stub())


def _call(wire: Wire, line: Line) -> Callable[..., Any]:
    again = wire.method.action.effect == "read"

    async def call(self_: object, ctx: Context, *args: Any, **kwargs: Any) -> Any:
        body = pack_arguments(wire, args, kwargs)
        try:
            status, payload = await _post(line, wire, ctx, body, again=again)
        except TimeoutError as error:
            raise DeadlineExceeded(f"{wire.path} did not answer in time") from error
        if status >= 400:
            raise unpack_error(payload)
        return wire.decode_result(payload)

    call.__name__ = wire.method.name
    return call


async def _post(line: Line, wire: Wire, ctx: Context, body: bytes, *, again: bool) -> tuple[int, bytes]:
    import aiohttp

    timeout = line.timeout(ctx, wire.method.action, otherwise=_PATIENCE_SECONDS)
    try:
        async with line.session().post(
            line.url + wire.path, data=body, headers=line.headers(ctx), timeout=timeout, allow_redirects=False
        ) as response:
            return response.status, await response.read()
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        if again and not isinstance(error, aiohttp.ClientConnectorError):
            return await _post(line, wire, ctx, body, again=False)
        raise Unavailable(f"{wire.path} at {line.url} cannot be reached: {error}") from error
    except aiohttp.ConnectionTimeoutError as error:
        raise Unavailable(f"{wire.path} at {line.url} takes no connection") from error
    except TimeoutError:
        raise
    except aiohttp.ClientError as error:
        raise Unavailable(f"{wire.path} at {line.url} broke off: {error}") from error


def _stream(wire: Wire, line: Line) -> Callable[..., Any]:
    async def stream(self_: object, ctx: Context, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        import aiohttp

        timeout = line.timeout(ctx, wire.method.action, otherwise=None)
        body = pack_arguments(wire, args, kwargs)
        try:
            async with line.session().post(
                line.url + wire.path, data=body, headers=line.headers(ctx), timeout=timeout, allow_redirects=False
            ) as response:
                if response.status >= 400:
                    raise unpack_error(await response.read())
                try:
                    async for payload in _items(response.content):
                        yield wire.decode_result(payload)
                finally:
                    # Whoever leaves early ends the far side's work: the connection cannot be used again.
                    response.close()
        except aiohttp.ConnectionTimeoutError as error:
            raise Unavailable(f"{wire.path} at {line.url} takes no connection") from error
        except TimeoutError as error:
            raise DeadlineExceeded(f"{wire.path} did not end in time") from error
        except (aiohttp.ClientError, asyncio.IncompleteReadError) as error:
            raise Unavailable(f"the stream of {wire.path} broke off: {error}") from error

    stream.__name__ = wire.method.name
    return stream


async def _items(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    while True:
        kind, size = HEAD.unpack(await content.readexactly(HEAD.size))
        if size > MAX_FRAME:
            raise StanchionError("the far side sent a frame over the limit")
        payload = await content.readexactly(size)
        if kind == Kind.END:
            return
        if kind == Kind.ERROR:
            raise unpack_error(payload)
        yield payload
