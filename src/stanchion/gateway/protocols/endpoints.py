"""The routes of calls: the client's body goes to the gateway as it came, and the answer back as it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from starlette.routing import Route

from ...core.context import Context
from ...core.errors import MalformedRequest, StanchionError
from ...core.http.limits import read_body
from ...core.http.routes import BODY, CONTEXT, ROW
from ...core.redaction import redact
from ...core.resilience.deadline import Begun
from ...core.tasks import end_tasks
from ...core.telemetry.contract import LedgerRow
from ..contract.calls import Account, Ask, Piece, Shape
from ..contract.gateway import Gateway
from ..contract.specs import ROUTE_PREFIX
from ..wire.peek import Peek, Peeked
from .heads import Heads, headers

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

PATHS: Mapping[str, Shape] = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completions",
    "/v1/responses": "responses",
    "/v1/embeddings": "embeddings",
    "/v1/rerank": "rerank",
    "/v1/messages": "messages",
}
_PICO = 10**12
_MOST = 8 << 20  # where no door has read the body already, as in a test
_LONGEST = 192
# What means something to the provider and is no secret of the gateway's.
_KEPT = (b"anthropic-beta", b"anthropic-version", b"openai-beta")
_TAGS = b"x-stanchion-tags"
_SENSITIVITY = b"x-stanchion-sensitivity"
_MOST_TAGS = 16
_UNWATCHED = 0.05


class Calls:
    """One shape's endpoint."""

    def __init__(self, gateway: Gateway, shape: Shape) -> None:
        self._gateway = gateway
        self._shape = shape
        self._heads = Heads()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = scope.get(BODY)
        if body is None:
            body = await read_body(receive, _MOST)
        ctx, row = cast(Context, scope[CONTEXT]), cast(LedgerRow, scope[ROW])
        peek = Peek(body)
        ask = _ask(self._shape, peek, scope["headers"])
        _name(row, peek)
        streams = peek.stream and self._shape not in ("embeddings", "rerank")
        try:
            begun = Begun((self._streamed if streams else self._whole)(ctx, row, ask, send))
            if begun.waits:
                # What never waits, such as a kept answer, is done before anybody could go away.
                async with _while_connected(receive, row):
                    await begun
        except StanchionError:
            if row.version:
                await self._charged(ctx, row)
            raise
        if row.outcome == "cancelled":
            await self._charged(ctx, row)

    async def _charged(self, ctx: Context, row: LedgerRow) -> None:
        """Complete the row of an answer that did not come to its end with what was charged for it."""
        try:
            spent = await self._gateway.spent(replace(ctx, deadline=None), ctx.request_id)
        except StanchionError:
            return
        for each in spent:
            row.version = each.model
            row.tokens_in, row.tokens_out = each.usage.tokens_in, each.usage.tokens_out
        row.cost = sum(each.cost for each in spent) / _PICO

    async def _whole(self, ctx: Context, row: LedgerRow, ask: Ask, send: Send) -> None:
        reply = await self._gateway.complete(ctx, ask)
        _learn(row, reply.account)
        await send({"type": "http.response.start", "status": 200, "headers": self._heads.whole(reply)})
        await send({"type": "http.response.body", "body": reply.body})

    async def _streamed(self, ctx: Context, row: LedgerRow, ask: Ask, send: Send) -> None:
        # The gate gives an async generator; a remote gateway too.
        pieces = cast("AsyncGenerator[Piece, None]", self._gateway.stream(ctx, ask))
        async with aclosing(pieces):
            async for piece in pieces:
                if piece.opening is not None:
                    _learn(row, piece.opening)
                    head = [
                        (b"content-type", b"text/event-stream; charset=utf-8"),
                        (b"cache-control", b"no-cache"),
                        (b"x-accel-buffering", b"no"),
                        *headers(piece.opening),
                    ]
                    await send({"type": "http.response.start", "status": 200, "headers": head})
                if piece.account is not None:
                    _learn(row, piece.account)
                if piece.data:
                    await send({"type": "http.response.body", "body": piece.data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


class _while_connected:
    """Cancels the block when the client goes away: what it asked for is of no use to anybody then.

    Most blocks end before anybody could have noticed, so the client is watched only after a moment.
    """

    def __init__(self, receive: Receive, row: LedgerRow) -> None:
        self._receive = receive
        self._row = row
        self._gone = False
        self._listening: asyncio.Future[None] | None = None

    async def __aenter__(self) -> None:
        self._working = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(_UNWATCHED, self._watch)

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> bool:
        self._timer.cancel()
        if self._listening is not None:
            await end_tasks(self._listening)
        if not self._gone or kind is not asyncio.CancelledError or self._working is None:
            return False
        self._row.outcome = "cancelled"
        # Somebody else may want the task cancelled as well, such as a process that ends.
        return self._working.uncancel() == 0

    def _watch(self) -> None:
        self._listening = asyncio.ensure_future(self._listen())

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        if self._working is not None:
            self._working.cancel()


def call_routes(gateway: Gateway) -> list[Route]:
    """The hot routes, one for each shape."""
    return [Route(path, Calls(gateway, shape), methods=["POST"]) for path, shape in PATHS.items()]


def _ask(shape: Shape, peek: Peek, headers: list[tuple[bytes, bytes]]) -> Ask:
    kept: dict[str, str] = {}
    tags: dict[str, str] = {}
    for name, value in headers:
        if name in _KEPT:
            kept[name.decode()] = value.decode("latin-1")
        elif name == _TAGS:
            tags |= tags_of(value.decode("latin-1"))
        elif name == _SENSITIVITY:
            tags["sensitivity"] = value.decode("latin-1")[:64]
    return Peeked(shape, peek.body, kept, tags, peek)


def tags_of(text: str) -> dict[str, str]:
    """`team=legal, case=4711` as a mapping. Raises MalformedRequest."""
    tags = {}
    for pair in text.split(","):
        name, equals, value = pair.strip().partition("=")
        if not equals or not name or len(name) > 64 or len(value) > 256:
            raise MalformedRequest("x-stanchion-tags is name=value, name=value")
        tags[name.strip()] = value.strip()
    if len(tags) > _MOST_TAGS:
        raise MalformedRequest(f"x-stanchion-tags has at most {_MOST_TAGS} tags")
    return tags


def _name(row: LedgerRow, peek: Peek) -> None:
    """Let the row of a refused call name what was asked for, if it may be a name: it comes from the caller."""
    try:
        model = peek.model
    except StanchionError:
        return
    row.subject = _redacted(model) if len(model) <= _LONGEST and model.isprintable() else ""


@lru_cache(maxsize=1024)
def _redacted(model: str) -> str:
    # A few names come again and again, and each rule of what is taken out costs as much as a step of routing.
    return redact(model)


def _learn(row: LedgerRow, account: Account) -> None:
    """Complete the ledger row with who answered, and what it used."""
    if account.route:
        row.subject = ROUTE_PREFIX + account.route
    row.version, row.rung, row.cache = account.model, account.rung, account.cache
    row.tokens_in, row.tokens_out = account.usage.tokens_in, account.usage.tokens_out
    row.cost = account.cost / _PICO
