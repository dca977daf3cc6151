"""WebSocket /v1/events/ws: a message subscribes, and each event that fits comes as a message of its own.

`{"id": "a", "types": ["order.*"], "source": null, "subject": null, "since": null}` subscribes under an id of the
caller's choice, `{"id": "a", "stop": true}` ends it. What comes is `{"id", "position", "event"}`, once
`{"id", "from"}` when the subscription begins, and `{"id", "error"}` when it ends by a fault.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Annotated, cast

import msgspec

from ...core.context import Context
from ...core.errors import Conflict, NotAuthenticated, StanchionError, Throttled
from ...core.http.door import problem_of
from ...core.http.routes import Connection, decoded
from ...core.http.strict import check_json
from ...core.tasks import end_tasks
from ...core.telemetry.contract import LedgerRow
from ..contract import Events
from .following import Wanted, followed, told
from .stream import Items

PATH = "/v1/events/ws"
MOST = 16
_POLICY = 1008
_encode = msgspec.json.Encoder().encode

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Pattern = Annotated[str, msgspec.Meta(max_length=512)]


class _Asked(msgspec.Struct, forbid_unknown_fields=True):
    """One message."""

    id: Name
    types: Annotated[list[Pattern], msgspec.Meta(min_length=1, max_length=32)] = msgspec.field(
        default_factory=lambda: ["*"]
    )
    source: str | None = None
    subject: str | None = None
    since: str | None = None
    stop: bool = False


class _Named(msgspec.Struct):
    id: Name


_DECODER, _NAMED = msgspec.json.Decoder(_Asked), msgspec.json.Decoder(_Named)


class EventSocket:
    """Serves the subscriptions of a connection, at most 16 at a time."""

    def __init__(self, events: Events) -> None:
        self._events = events

    async def __call__(self, connection: Connection) -> None:
        running: dict[str, asyncio.Task[None]] = {}
        try:
            while (content := await connection.receive()) is not None:
                for name in [name for name, task in running.items() if task.done()]:
                    del running[name]
                await self._heard(connection, content, running)
        finally:
            await end_tasks(*running.values())

    async def _heard(self, connection: Connection, content: bytes, running: dict[str, asyncio.Task[None]]) -> None:
        try:
            check_json(content)
            asked = decoded(content, _DECODER)
            if asked.stop:
                if asked.id in running:
                    running.pop(asked.id).cancel()
                return
            if asked.id in running:
                raise Conflict(f"there is a subscription {asked.id!r} already")
            if len(running) >= MOST:
                raise Throttled(f"a connection has at most {MOST} subscriptions", retry_after=1)
            wanted = Wanted(tuple(asked.types), asked.source, asked.subject)
        except StanchionError as error:
            await connection.send(_encode({"id": _identity(content), "error": error.problem()}))
            return
        running[asked.id] = asyncio.ensure_future(self._serve(connection, asked, wanted))

    async def _serve(self, connection: Connection, asked: _Asked, wanted: Wanted) -> None:
        """Follow for as long as the connection lasts: each stretch is a message with a look at the credential."""
        since, row = asked.since, None
        try:
            while True:
                async with connection.message() as message:
                    row = message.row
                    since = await self._stretch(connection, message.ctx, row, asked.id, wanted, since)
        except StanchionError as error:
            document = error.problem() if row is None else problem_of(error, row)
            await connection.send(_encode({"id": asked.id, "error": document}))
            if isinstance(error, NotAuthenticated):
                await connection.close(_POLICY, "the credential is no longer valid")

    async def _stretch(
        self, connection: Connection, ctx: Context, row: LedgerRow, name: str, wanted: Wanted, since: str | None
    ) -> str:
        """Send what comes within the caller's time; the position reached."""
        reached = await self._events.position(ctx, since=since)
        if since is None:
            await connection.send(_encode({"id": name, "from": reached}))
        async with aclosing(cast("Items", followed(self._events, ctx, wanted, reached))) as items:
            async for delivered, fits in items:
                reached = delivered.position
                if fits:
                    row.items += 1
                    answer = {"id": name, "position": reached, "event": told(delivered)}
                    await connection.send(_encode(answer))
        return reached


def _identity(content: bytes) -> str | None:
    """The id of a message that may be faulty otherwise, so that its error finds who waits for it."""
    try:
        return _NAMED.decode(content).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
