"""WebSocket /v1/predictions/ws: a message asks, one with the same id answers; in the order in which answers are ready.

A message is the body of POST /v1/predictions with an `id` of the caller's choice and perhaps `timeout` in seconds. Its
answer is `{"id", "answer": {...}}` or `{"id", "error": {problem document}}`.
Source: The WebSocket Protocol, RFC 6455.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec

from ...core.errors import Conflict, NotAuthenticated, StanchionError
from ...core.http.door import problem_of
from ...core.http.routes import Connection, Message, decoded
from ...core.http.strict import check_json
from ...core.redaction import redact
from ...core.tasks import end_tasks
from ...core.telemetry.contract import LedgerRow
from ..answers import Ask, answered
from ..contract.predictions import Predicts
from .rest import sooner

PATH = "/v1/predictions/ws"
MOST = 32
_POLICY = 1008
_encode = msgspec.json.Encoder().encode

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class _Asked(Ask, kw_only=True, forbid_unknown_fields=True, gc=False):
    """One message."""

    id: Name
    timeout: Annotated[float, msgspec.Meta(gt=0, le=86_400)] | None = None


class _Named(msgspec.Struct):
    id: Name


_DECODER, _NAMED = msgspec.json.Decoder(_Asked), msgspec.json.Decoder(_Named)


class PredictionSocket:
    """Answers the messages of a connection, at most 32 at a time.

    As many again are read ahead, so that it is noticed when the other side goes; beyond them the other side must wait.
    """

    def __init__(self, serving: Predicts) -> None:
        self._serving = serving

    async def __call__(self, connection: Connection) -> None:
        ahead: asyncio.Queue[bytes] = asyncio.Queue(MOST)
        both = [
            asyncio.ensure_future(_read(connection, ahead)),
            asyncio.ensure_future(self._work(connection, ahead)),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Whoever asked has gone: what is still under way has nobody to answer.
            await end_tasks(*both)
        for task in both:
            if not task.cancelled():
                task.result()

    async def _work(self, connection: Connection, ahead: asyncio.Queue[bytes]) -> None:
        room = asyncio.Semaphore(MOST)
        taken: set[str] = set()
        async with asyncio.TaskGroup() as group:
            while True:
                content = await ahead.get()
                await room.acquire()
                task = group.create_task(self._answer(connection, content, taken))
                task.add_done_callback(lambda _: room.release())

    async def _answer(self, connection: Connection, content: bytes, taken: set[str]) -> None:
        row: LedgerRow | None = None
        ended = False
        try:
            async with connection.message() as message:
                row = message.row
                told = await self._told(message, content, taken)
        except StanchionError as error:
            ended = isinstance(error, NotAuthenticated)
            document = error.problem() if row is None else problem_of(error, row)
            told = _encode({"id": _identity(content), "error": document})
        await connection.send(told)
        if ended:
            await connection.close(_POLICY, "the credential is no longer valid")

    async def _told(self, message: Message, content: bytes, taken: set[str]) -> bytes:
        message.given = content
        check_json(content)
        asked = decoded(content, _DECODER)
        if asked.id in taken:
            raise Conflict(f"a message with the id {redact(asked.id)} is still under way")
        taken.add(asked.id)
        try:
            body = await answered(self._serving, sooner(message.ctx, asked.timeout), message.row, asked)
        finally:
            taken.discard(asked.id)
        message.told = _encode({"id": asked.id, "answer": body})
        return message.told


async def _read(connection: Connection, ahead: asyncio.Queue[bytes]) -> None:
    while (content := await connection.receive()) is not None:
        await ahead.put(content)


def _identity(content: bytes) -> str | None:
    """The id of a message that may be faulty otherwise, so that its error finds who waits for it."""
    try:
        return _NAMED.decode(content).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
