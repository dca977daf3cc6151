"""Offers gated services to other processes: every contract method is one POST."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, Protocol, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from ..context import Context
from ..errors import MalformedRequest, NotAuthenticated, StanchionError, Unavailable
from .codec import MEDIA_TYPE, PASSPORT, Kind, Wire, frame, pack_error, unpack_arguments, wires

T = TypeVar("T")


class Inspector(Protocol):
    """Checks a passport: the caller's Context, signed by the process that sends it."""

    def inspect(self, passport: str, peer: str | None) -> Context:
        """The Context in the passport, if `peer` (the verified TLS identity) issued it for this process.

        Raises NotAuthenticated.
        """
        ...


def serve(name: str, contract: type[Any], service: object, inspector: Inspector) -> list[Route]:
    """Routes `/<name>/<method>` for a service that has passed the gate's `wrap`."""
    return [
        Route(w.path, _endpoint(w, getattr(service, w.method.name), inspector), methods=["POST"])
        for w in wires(name, contract)
    ]


def _endpoint(wire: Wire, method: Callable[..., Any], inspector: Inspector) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        try:
            ctx = _caller(request, inspector)
            arguments = unpack_arguments(wire, await request.body())
            if wire.method.streams:
                return StreamingResponse(_frames(method(ctx, **arguments)), media_type=MEDIA_TYPE)
            answer = await _while_wanted(request, method(ctx, **arguments))
        except StanchionError as error:
            return Response(pack_error(error), error.status, media_type=MEDIA_TYPE)
        return Response(msgspec.msgpack.encode(answer), media_type=MEDIA_TYPE)

    return endpoint


async def _while_wanted(request: Request, call: Coroutine[Any, Any, T]) -> T:
    """The answer; a caller that goes away cancels the call, as one in this process would."""

    async def left() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        answering.cancel()

    answering = asyncio.ensure_future(call)
    watching = asyncio.ensure_future(left())
    try:
        return await answering
    except asyncio.CancelledError:
        if watching.done():
            raise Unavailable("the caller went away before its answer") from None
        raise
    finally:
        watching.cancel()
        answering.cancel()


def _caller(request: Request, inspector: Inspector) -> Context:
    passport = request.headers.get(PASSPORT)
    if passport is None:
        raise NotAuthenticated("the call carries no passport")
    if request.headers.get("content-type") != MEDIA_TYPE:
        raise MalformedRequest(f"calls between processes are {MEDIA_TYPE}")
    return inspector.inspect(passport, request.scope.get("extensions", {}).get("tls_peer"))


async def _frames(items: AsyncGenerator[Any, None]) -> AsyncIterator[bytes]:
    """One frame an item, then END; an error is a frame too, since the status is long gone."""
    try:
        async with aclosing(items):
            async for item in items:
                yield frame(Kind.ITEM, msgspec.msgpack.encode(item))
                # A send to a client that has gone returns at once: without this the loop would never learn of it.
                await asyncio.sleep(0)
    except StanchionError as error:
        yield frame(Kind.ERROR, pack_error(error))
    else:
        yield frame(Kind.END)
