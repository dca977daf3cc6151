"""What a module's routes are made of: the caller's Context, its ledger row, strict JSON in, JSON out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

import msgspec
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.routing import Route

from ..context import Context
from ..errors import FieldProblem, InvalidInput, MalformedRequest
from .limits import read_body

if TYPE_CHECKING:
    from fastapi import APIRouter
    from starlette.types import Receive, Scope, Send

    from ..telemetry.contract import LedgerRow

T = TypeVar("T")
Answer = Callable[[Context, "LedgerRow", T], Awaitable[object]]
_MOST = 8 << 20  # where no door has read the body already, as in a test
_encode = msgspec.json.Encoder().encode
CONTEXT = "stanchion.context"
ROW = "stanchion.row"
BODY = "stanchion.body"


@dataclass(slots=True)
class Message:
    """One message under way: its caller's Context, its ledger row, and both sides of it for those who keep content."""

    ctx: Context
    row: LedgerRow
    given: bytes = b""
    told: bytes = b""


class Connection(Protocol):
    """An accepted WebSocket."""

    async def receive(self) -> bytes | None:
        """The next message, or None once the other side has gone."""
        ...

    async def send(self, content: bytes) -> None:
        """Send text. Waits while the other side reads slowly; does nothing once it has gone."""
        ...

    async def close(self, code: int, reason: str) -> None:
        """End the connection."""
        ...

    def message(self) -> AbstractAsyncContextManager[Message]:
        """Run the block as one message of the caller: with its own limits and ledger row. Raises NotAuthenticated."""
        ...


Socket = Callable[[Connection], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Routes:
    """A module's HTTP routes: `api` for management (FastAPI, documents itself), `hot` for plain fast ones.

    `sockets` are what speaks over WebSockets, by path.
    `paths` and `schemas` are the OpenAPI path items and component schemas of what does not document itself.
    `problems` writes problem documents, by path, where stock clients look for the words in another place.
    """

    api: APIRouter | None = None
    hot: Sequence[Route] = ()
    sockets: Mapping[str, Socket] = field(default_factory=dict)
    paths: Mapping[str, Any] = field(default_factory=dict)
    schemas: Mapping[str, Any] = field(default_factory=dict)
    problems: Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = field(default_factory=dict)

    def joined(self, other: Routes) -> Routes:
        """These routes and others; the `api` of these."""
        return Routes(
            api=self.api,
            hot=[*self.hot, *other.hot],
            sockets={**self.sockets, **other.sockets},
            paths={**self.paths, **other.paths},
            schemas={**self.schemas, **other.schemas},
            problems={**self.problems, **other.problems},
        )


def context_of(connection: HTTPConnection) -> Context:
    """The authenticated caller's Context; the door in front of all routes has put it there."""
    return cast(Context, connection.scope[CONTEXT])


def row_of(connection: HTTPConnection) -> LedgerRow:
    """The request's ledger row, for the route to add what it learns."""
    return cast("LedgerRow", connection.scope[ROW])


class _Hot(Generic[T]):
    """An ASGI application: the framework's own way to a function costs more than many a model."""

    def __init__(self, decoder: msgspec.json.Decoder[T], answer: Answer[T]) -> None:
        self._decoder = decoder
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = scope.get(BODY)
        if body is None:
            body = await read_body(receive, _MOST)
        content = _encode(await self._answer(scope[CONTEXT], scope[ROW], decoded(body, self._decoder)))
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})


def hot_route(path: str, decoder: msgspec.json.Decoder[T], answer: Answer[T]) -> Route:
    """A POST of JSON, answered 200 with JSON, at the least cost.

    `answer` gets the caller, the ledger row to complete, and the body as the decoder's type; it gives plain data,
    dataclasses or msgspec structs. Its errors become problem documents in the door.
    """
    return Route(path, _Hot(decoder, answer), methods=["POST"])


def decoded(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """The body as the decoder's type. Raises MalformedRequest (no JSON) or InvalidInput with the path.

    The door has already refused bodies that are too large, too deep, repeat a key or hold NaN.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidInput("the body does not have the documented shape", fields=[fault(error)]) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRequest(f"the body is not one JSON document: {error}") from error


def fault(error: msgspec.ValidationError, *, root: str = "$") -> FieldProblem:
    """Where and what, from msgspec's own message: `Expected ... - at `$.path``."""
    message, _, place = str(error).partition(" - at `")
    return FieldProblem(path=root + place.rstrip("`").removeprefix("$"), message=message)


def json_response(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Compact JSON of plain data, dataclasses or msgspec structs."""
    return Response(msgspec.json.encode(content), status, headers=headers, media_type="application/json")
