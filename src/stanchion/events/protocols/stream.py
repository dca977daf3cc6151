"""GET /v1/events: events as they come, as server-sent events.

Each has its position as `id`, so that a browser that was cut off goes on where it stopped (Last-Event-ID). A stream
lasts as long as a request may; EventSource opens the next one by itself, and the caller's key is looked at again.
Source: server-sent events, HTML Living Standard, section 9.2.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, cast

import msgspec

from ...core.context import Context
from ...core.errors import InvalidInput, StanchionError
from ...core.http.door import problem_of
from ...core.http.routes import CONTEXT, ROW
from ...core.tasks import end_tasks
from ...core.telemetry.contract import LedgerRow
from ..contract import Delivered, Events
from .following import Wanted, followed, told
from .query import query_of, single

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

_PARAMETERS = ("type", "source", "subject", "since")
_HEARTBEAT = 15.0
_RETRY = b"retry: 1000\n"
_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    # A proxy that collects answers would make one late lump of the stream.
    (b"x-accel-buffering", b"no"),
)
_encode = msgspec.json.Encoder().encode
Items = AsyncGenerator[tuple[Delivered, bool], None]


class EventStream:
    """The ASGI application of the route, over gated events."""

    def __init__(self, events: Events) -> None:
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        work = asyncio.ensure_future(self._stream(scope, send))
        left = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait({work, left}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                await work
            else:
                scope[ROW].outcome = "cancelled"
        finally:
            await end_tasks(work, left)

    async def _stream(self, scope: Scope, send: Send) -> None:
        ctx: Context = scope[CONTEXT]
        row: LedgerRow = scope[ROW]
        given = query_of(scope, _PARAMETERS)
        wanted = Wanted(tuple(given.get("type", ("*",))), single(given, "source"), single(given, "subject"))
        since = _last(scope) or single(given, "since")
        # Asked for before the first byte: a position of another bus is refused properly, and nothing is missed between.
        start = await self._events.position(ctx, since=since)
        await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
        await _send(send, _RETRY + f"id: {start}\n: from here\n\n".encode())
        try:
            async with aclosing(cast("Items", followed(self._events, ctx, wanted, start))) as items:
                row.items = await _tell(items, send)
        except StanchionError as error:
            row.outcome = error.code
            await _send(send, b"event: error\ndata: " + _encode(problem_of(error, row)) + b"\n\n")
        await send({"type": "http.response.body", "body": b""})


async def _tell(items: Items, send: Send) -> int:
    """Send each event, and a comment where none came for a while; how many events were sent."""
    number = 0
    coming: asyncio.Future[tuple[Delivered, bool]] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(items))
            done, _ = await asyncio.wait({coming}, timeout=_HEARTBEAT)
            if not done:
                await _send(send, b": nothing new\n\n")
                continue
            try:
                delivered, asked = coming.result()
            except StopAsyncIteration:
                return number
            coming = None
            if asked:
                number += 1
                await _send(send, written(delivered))
    finally:
        await end_tasks(coming)


def written(delivered: Delivered) -> bytes:
    """One event of the stream. Its name is the event's type, so that a page can listen for one."""
    # JSON holds no bare line break, and neither does a type: each is one line.
    head = f"id: {delivered.position}\nevent: {delivered.event.type}\ndata: ".encode()
    return head + _encode(told(delivered)) + b"\n\n"


async def _send(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


def _last(scope: Scope) -> str | None:
    value = next((value for name, value in scope["headers"] if name == b"last-event-id"), b"").decode("latin-1")
    if len(value) > 4_096:
        raise InvalidInput("the Last-Event-ID is none of this bus")
    return value or None


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
