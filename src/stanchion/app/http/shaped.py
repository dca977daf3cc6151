"""What stock clients of other providers expect before and behind the door: their header, and their words of errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

Writer = Callable[[Mapping[str, Any]], Mapping[str, Any]]
_PROBLEM = b"application/problem+json"


class Shaped:
    """ASGI middleware outside the door, on the paths of `writers` alone.

    A key in `x-api-key`, where Anthropic's clients send it, is taken as one in `Authorization`; a problem document of
    whomever it comes from, the door included, is written as the path's clients read it.
    """

    def __init__(self, app: ASGIApp, writers: Mapping[str, Writer]) -> None:
        self._app = app
        self._writers = dict(writers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        write = self._writers.get(scope["path"]) if scope["type"] == "http" else None
        if write is None:
            await self._app(scope, receive, send)
            return
        _take_key(scope)
        await self._app(scope, receive, _Answer(send, write))


class _Answer:
    """Passes an answer on, a problem rewritten."""

    __slots__ = ("_head", "_send", "_write")

    def __init__(self, send: Send, write: Writer) -> None:
        self._send = send
        self._write = write
        self._head: Message | None = None

    def __call__(self, message: Message) -> Awaitable[None]:
        if self._head is None and (message["type"] != "http.response.start" or message["status"] < 400):
            # Nearly all messages: a coroutine of its own for each would cost as much as the rest of this class.
            return self._send(message)
        return self._rewritten(message)

    async def _rewritten(self, message: Message) -> None:
        if self._head is not None:
            # The door and the framework send a problem in one piece.
            body = msgspec.json.encode(self._write(msgspec.json.decode(message["body"])))
            kept = [(n, v) for n, v in self._head["headers"] if n not in (b"content-length", b"content-type")]
            kept += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            await self._send({**self._head, "headers": kept})
            await self._send({**message, "body": body})
            self._head = None
        elif _is_problem(message):
            self._head = message
        else:
            await self._send(message)


def _is_problem(message: Message) -> bool:
    return any(name.lower() == b"content-type" and value.startswith(_PROBLEM) for name, value in message["headers"])


def _take_key(scope: Scope) -> None:
    found: bytes | None = None
    for name, value in scope["headers"]:
        if name == b"authorization":
            return
        if name == b"x-api-key" and found is None:
            found = value
    if found is not None:
        scope["headers"] = [*scope["headers"], (b"authorization", b"Bearer " + found)]
