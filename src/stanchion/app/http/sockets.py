"""WebSockets at the public listener: who may open one, and what it speaks with once it is open.

The handshake is one request and has a ledger row; every message after it has its own, by the desk.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from ...core.errors import NotAllowed, NotFound, StanchionError, Throttled
from ...core.http.door import problem_headers, problem_of
from ...core.http.limits import check_head
from ...core.http.routes import Connection, Message, Socket
from ...core.telemetry.contract import LedgerRow
from ..desk import Desk

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

OPENED = 101
_NORMAL, _FAULT = 1000, 1011
_CLOSING = 1.0


class Sockets:
    """ASGI middleware: takes WebSockets, and lets everything else through to the door."""

    def __init__(self, rest: ASGIApp, sockets: Mapping[str, Socket], desk: Desk) -> None:
        self._rest = rest
        self._sockets = dict(sockets)
        self._desk = desk
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self._rest(scope, receive, send)
            return
        row = self._desk.anonymous(f"WS {scope['path'] if scope['path'] in self._sockets else 'unmatched'}")
        started = time.perf_counter()
        try:
            authorization, peer = await self._admitted(scope, row)
        except StanchionError as error:
            row.status, row.outcome = error.status, error.code
            await _refuse(scope, receive, send, error, row)
            return
        finally:
            row.status = row.status or OPENED
            row.latency_ms = (time.perf_counter() - started) * 1000
            self._desk.write(row)
        await self._speak(scope, receive, send, authorization, peer)

    async def _admitted(self, scope: Scope, row: LedgerRow) -> tuple[str | None, str | None]:
        """The credential that the connection came with, once it has been found good. Raises StanchionError."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        check_head(scope, headers)
        _check_origin(headers, scope["scheme"])
        shown = headers.get(b"authorization")
        authorization = None if shown is None else shown.decode("latin-1")
        peer = scope.get("extensions", {}).get("tls_peer")
        identity = await self._desk.identify(authorization, peer=peer)
        row.tenant, row.principal = identity.tenant, identity.principal
        if scope["path"] not in self._sockets:
            raise NotFound(f"no WebSocket is at {scope['path'][:200]}")
        self._desk.check_room()
        if self._open >= self._desk.limits.concurrent:
            raise Throttled(f"{self._open} connections are open already", retry_after=1)
        return authorization, peer

    async def _speak(
        self, scope: Scope, receive: Receive, send: Send, authorization: str | None, peer: str | None
    ) -> None:
        self._open += 1
        connection = _Connection(receive, send, self._desk, f"WS {scope['path']} message", authorization, peer)
        try:
            await receive()  # the server's own announcement of the handshake
            await send({"type": "websocket.accept", "headers": []})
            await self._sockets[scope["path"]](connection)
        except Exception:
            await connection.close(_FAULT, "the service failed; the fault is in its log")
            raise
        finally:
            self._open -= 1
        await connection.close(_NORMAL, "")


class _Connection(Connection):
    """A connection over the server's own messages."""

    def __init__(
        self, receive: Receive, send: Send, desk: Desk, route: str, authorization: str | None, peer: str | None
    ) -> None:
        self._receive = receive
        self._send = send
        self._desk = desk
        self._route = route
        self._authorization = authorization
        self._peer = peer
        self._ended = False

    async def receive(self) -> bytes | None:
        if self._ended:
            return None
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self._ended = True
            return None
        text = message.get("text")
        content: bytes = message.get("bytes") or b"" if text is None else text.encode("utf-8", "surrogatepass")
        return content

    async def send(self, content: bytes) -> None:
        if self._ended:
            return
        try:
            await self._send({"type": "websocket.send", "text": content.decode()})
        except OSError:
            # The other side went away while this was on its way; `receive` tells of it as well.
            self._ended = True

    async def close(self, code: int, reason: str) -> None:
        if self._ended:
            return
        self._ended = True
        await self._send({"type": "websocket.close", "code": code, "reason": reason})

    def message(self) -> AbstractAsyncContextManager[Message]:
        return self._desk.message(self._route, self._authorization, peer=self._peer)


def _check_origin(headers: Mapping[bytes, bytes], scheme: str) -> None:
    """A browser tells which page opens the connection; one of another site may not. Raises NotAllowed.

    Programs that are no browser send no Origin. The credential is a header, which a browser never adds by itself, so
    this is the second wall and not the first.
    """
    origin = headers.get(b"origin")
    if origin is None:
        return
    place = urlsplit(origin.decode("latin-1"))
    expected = "https" if scheme == "wss" else "http"
    if place.scheme != expected or place.netloc.encode("latin-1").lower() != headers.get(b"host", b"").lower():
        raise NotAllowed(
            "a page of another site may not open a connection here",
            next_step="Open it from a page of this very address, or from a program that is no browser.",
        )


async def _refuse(scope: Scope, receive: Receive, send: Send, error: StanchionError, row: LedgerRow) -> None:
    """Answer the handshake with the problem document instead of a connection."""
    await receive()
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008, "reason": error.code})
        return
    body = msgspec.json.encode(problem_of(error, row))
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-request-id", row.request_id.encode()),
        *problem_headers(error),
    ]
    await send({"type": "websocket.http.response.start", "status": error.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
    # The server takes a handshake for unfinished until its connection is gone, and would log each refusal as a fault.
    with suppress(TimeoutError):
        async with asyncio.timeout(_CLOSING):
            for _ in range(2):
                await receive()
