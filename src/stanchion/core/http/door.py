"""The door in front of every route: limits, caller, trace, one ledger row, and problem documents.

Order matters: nothing is parsed before its size is known, no route runs before the caller is, and whatever
happens afterwards the request leaves one ledger row.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol
from urllib.parse import quote

import msgspec

from ..clock import Clock
from ..context import Context, Trace, new_request_id
from ..errors import NotAuthenticated, StanchionError, Throttled, Unavailable
from ..redaction import redact
from ..security.contract import Authenticator, Identity
from ..telemetry.contract import LedgerRow
from .limits import check_head, read_body, time_limit
from .routes import BODY, CONTEXT, ROW
from .strict import check_json

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_TRACEPARENT = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
COOKIE = "stanchion_session"
MATCHED = "stanchion.route"
FOREIGN = "stanchion.foreign"
_SPAN = "stanchion."


class Book(Protocol):
    """Where ledger rows go."""

    @property
    def full(self) -> bool:
        """Whether no further row can be taken: requests are then refused rather than left unrecorded."""
        ...

    def write(self, row: LedgerRow) -> None:
        """Take a finished row; returns at once."""
        ...


class Sampler(Protocol):
    """Which requests keep their spans."""

    def __call__(self, trace_id: str) -> bool: ...


class Faults(Protocol):
    """Where errors go that are not of our tree."""

    def __call__(self, trace_id: str, where: str, error: Exception) -> None: ...


class Spans(Protocol):
    """Keeps the spans of sampled requests."""

    def span(self, ctx: Context, name: str) -> AbstractContextManager[Context]:
        """Run the block as a span; gives the Context that belongs inside."""
        ...

    def annotate(self, ctx: Context, attributes: Mapping[str, str], *, name: str) -> None:
        """Name the span by what has been learned since."""
        ...


class Capture(Protocol):
    """Keeps what went into a request and came out of it, sealed."""

    async def keep(self, ctx: Context, kind: Literal["input", "output"], data: bytes) -> None:
        """Store one side of the request."""
        ...


class SessionReader(Protocol):
    """Who a console session belongs to."""

    async def session(self, token: str | None) -> Identity:
        """Raises NotAuthenticated."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may take: body in bytes, seconds, and requests under way at once in this process."""

    body: int = 8 << 20
    seconds: float = 60.0
    concurrent: int = 512


@dataclass(frozen=True, slots=True)
class Surface:
    """Which paths need no credential (exact ones and prefixes), and where a person without one is sent.

    `probes` are paths by which others learn whether the process is well: they pass whatever the load.
    `foreign` are prefixes of protocols that are not ours: their routes check bodies themselves, as not all of a body
    need be JSON, and their errors are JSON with the words under `error` too, where stock clients look for them.
    """

    open_paths: frozenset[str]
    open_prefixes: tuple[str, ...]
    foreign: tuple[str, ...] = ()
    probes: frozenset[str] = frozenset({"/healthz", "/readyz"})
    console: str = "/console"
    login: str = "/console/login"


class Door:
    """ASGI middleware. Routes find the caller with `context_of` and their ledger row with `row_of`."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        authenticator: Authenticator,
        sessions: SessionReader,
        book: Book,
        sampler: Sampler,
        spans: Spans,
        faults: Faults,
        clock: Clock,
        surface: Surface,
        limits: Limits,
        owner: str,
        capture: Capture | None = None,
    ) -> None:
        self._app = app
        self._authenticator = authenticator
        self._sessions = sessions
        self._book = book
        self._sampler = sampler
        self._spans = spans
        self._faults = faults
        self._clock = clock
        self._surface = surface
        self._limits = limits
        self._owner = owner
        self._capture = capture
        self._running = 0

    @property
    def running(self) -> int:
        """Requests under way."""
        return self._running

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        started = time.perf_counter()
        headers: dict[bytes, bytes] = dict(scope["headers"])
        trace = self._trace(headers.get(b"traceparent"), scope["path"])
        row = LedgerRow(
            at=self._clock.now(),
            request_id=new_request_id(),
            trace_id=trace.trace_id,
            tenant=self._owner,
            principal="anonymous",
            route="",
        )
        answer = _Answer(send, row)
        self._running += 1
        try:
            await self._admit(scope, receive, answer, headers, trace)
        except StanchionError as error:
            await self._refuse(error, scope, answer)
        except Exception as error:
            self._faults(row.trace_id, _route(scope), error)
            await self._refuse(StanchionError("the service failed; the fault is in its log"), scope, answer)
        finally:
            self._running -= 1
            if row.status == 0:
                row.status = 499
            if row.status >= 400 and row.outcome == "ok":
                row.outcome = "cancelled" if row.status == 499 else f"http_{row.status}"
            row.latency_ms = (time.perf_counter() - started) * 1000
            row.route = _route(scope)
            self._book.write(row)

    async def _admit(
        self, scope: Scope, receive: Receive, answer: _Answer, headers: Mapping[bytes, bytes], trace: Trace
    ) -> None:
        check_head(scope, headers)
        row, path = answer.row, scope["path"]
        scope[ROW] = row
        if path in self._surface.probes:
            scope[CONTEXT] = _anonymous(row, trace)
            await self._app(scope, receive, answer.send)
            return
        if self._running > self._limits.concurrent:
            raise Throttled("too many requests are under way", retry_after=1)
        if self._book.full:
            raise Unavailable("requests cannot be recorded at the moment, so none is taken")
        if self._is_open(path):
            ctx = _anonymous(row, trace)
        else:
            identity = await self._identify(scope, headers)
            ctx = self._context(identity, headers, row, trace)
            row.tenant, row.principal = identity.tenant, identity.principal
        scope[CONTEXT] = ctx
        scope[BODY] = body = await read_body(receive, self._limits.body)
        if path.startswith(self._surface.foreign):
            scope[FOREIGN] = True
        elif body and _is_json(headers.get(b"content-type")):
            check_json(body)
        if self._capture is not None:
            answer.kept = []
        if ctx.trace.sampled and ctx.tenant:
            with self._spans.span(ctx, scope["method"]) as inner:
                scope[CONTEXT] = inner
                await self._app(scope, _Replay(body, receive), answer.send)
                learned = {_SPAN + "subject": row.subject, _SPAN + "version": row.version, _SPAN + "rung": row.rung}
                self._spans.annotate(inner, {k: v for k, v in learned.items() if v}, name=_route(scope))
        else:
            await self._app(scope, _Replay(body, receive), answer.send)
        # Only what a named thing answered is kept: never keys, policies or other management.
        if self._capture is not None and row.subject:
            await self._capture.keep(ctx, "input", body)
            await self._capture.keep(ctx, "output", b"".join(answer.kept or ()))

    def _is_open(self, path: str) -> bool:
        return path in self._surface.open_paths or path.startswith(self._surface.open_prefixes)

    def _identify(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Awaitable[Identity]:
        path: str = scope["path"]
        if path == self._surface.console or path.startswith(self._surface.console + "/"):
            return self._sessions.session(session_token(headers.get(b"cookie", b"").decode("latin-1")))
        shown = headers.get(b"authorization")
        return self._authenticator.authenticate(
            None if shown is None else shown.decode("latin-1"), peer=scope.get("extensions", {}).get("tls_peer")
        )

    def _context(self, identity: Identity, headers: Mapping[bytes, bytes], row: LedgerRow, trace: Trace) -> Context:
        seconds = time_limit(headers.get(b"request-timeout"), most=self._limits.seconds)
        return Context(
            tenant=identity.tenant,
            principal=identity.principal,
            rights=identity.rights,
            deadline=self._clock.monotonic() + (seconds or self._limits.seconds),
            trace=trace,
            request_id=row.request_id,
        )

    def _trace(self, traceparent: bytes | None, path: str) -> Trace:
        """The caller's trace id is kept; whether spans are kept is decided here, not by the caller.

        Pages of the console leave no spans: they poll, and would crowd out what they are there to show.
        """
        sampler = _never if path.startswith(self._surface.console) else self._sampler
        match = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
        if match is None or match[1] == b"0" * 32 or match[2] == b"0" * 16:
            return Trace.new(sampled=sampler)
        trace_id = match[1].decode()
        return Trace(trace_id, match[2].decode(), sampler(trace_id))

    async def _refuse(self, error: StanchionError, scope: Scope, answer: _Answer) -> None:
        answer.row.outcome = error.code
        if answer.started:
            return
        path: str = scope["path"]
        if isinstance(error, NotAuthenticated) and path.startswith(self._surface.console) and _is_person(scope):
            query = "?" + scope["query_string"].decode("latin-1") if scope["query_string"] else ""
            # A form whose session has ended is not sent again by itself: its page is opened anew.
            target = f"{self._surface.login}?next={quote(path + query) if scope['method'] == 'GET' else ''}"
            scope[MATCHED] = self._surface.console
            await answer.plain(303, b"", b"text/plain", [(b"location", target.encode())])
            return
        await answer.problem(error, foreign=path.startswith(self._surface.foreign))


def _never(trace_id: str) -> bool:
    return False


def _is_person(scope: Scope) -> bool:
    """Whether a browser asks for a page, which a person without a session can be sent away from."""
    return any(name == b"accept" and b"text/html" in value for name, value in scope["headers"])


def _anonymous(row: LedgerRow, trace: Trace) -> Context:
    """The caller of a path that needs no credential."""
    return Context(tenant="", principal="anonymous", trace=trace, request_id=row.request_id)


def _is_json(media: bytes | None) -> bool:
    # What names no type is read as JSON too, so it is checked as such.
    return media is None or media == b"application/json" or media.partition(b";")[0].strip().endswith(b"json")


def problem_headers(error: StanchionError) -> list[tuple[bytes, bytes]]:
    """Headers that belong to the error: Retry-After and WWW-Authenticate."""
    headers = []
    if error.retry_after is not None:
        headers.append((b"retry-after", str(max(1, round(error.retry_after))).encode()))
    if error.status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="stanchion"'))
    return headers


class _Answer:
    """Watches the answer go out: its status, and the headers that every answer carries."""

    __slots__ = ("_send", "kept", "row", "started")

    def __init__(self, send: Send, row: LedgerRow) -> None:
        self._send = send
        self.row = row
        self.started = False
        self.kept: list[bytes] | None = None

    def send(self, message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            self.started = True
            self.row.status = message["status"]
            message["headers"] = [
                *message.get("headers", ()),
                (b"x-request-id", self.row.request_id.encode()),
                (b"x-content-type-options", b"nosniff"),
            ]
        elif self.kept is not None:
            self.kept.append(message.get("body", b""))
        return self._send(message)

    async def problem(self, error: StanchionError, *, foreign: bool) -> None:
        body, media = problem_body(problem_of(error, self.row), foreign=foreign)
        await self.plain(error.status, body, media, problem_headers(error))

    async def plain(self, status: int, body: bytes, media: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        fixed = [
            (b"content-type", media),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await self.send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
        await self.send({"type": "http.response.body", "body": body})


class _Replay:
    """Gives the route the body that has been read, then the connection's own messages."""

    __slots__ = ("_body", "_receive")

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        body, self._body = self._body, None
        if body is None:
            return await self._receive()
        return {"type": "http.request", "body": body, "more_body": False}


def session_token(header: str) -> str | None:
    """The console's session token in a Cookie header."""
    for pair in header.split(";"):
        key, _, value = pair.strip().partition("=")
        if key == COOKIE and value:
            return value
    return None


def _route(scope: Scope) -> str:
    """Method and route template: never an id, so that one route is one line in rollups and metrics."""
    route = scope.get("route")
    path = getattr(route, "path_format", None) or getattr(route, "path", None) or scope.get(MATCHED)
    return f"{scope['method']} {path or 'unmatched'}"[:200]


def problem_of(error: StanchionError, row: LedgerRow) -> dict[str, Any]:
    """The problem document of an error, without the secrets and personal data that its words may repeat."""
    document: dict[str, Any] = error.problem(trace_id=row.trace_id, instance=f"urn:stanchion:request:{row.request_id}")
    document["detail"] = redact(error.detail)
    for each in document.get("errors", ()):
        each.update(path=redact(each["path"]), message=redact(each["message"]))
    return document


def problem_body(document: Mapping[str, Any], *, foreign: bool) -> tuple[bytes, bytes]:
    """A problem document as bytes with its media type; as JSON with `error` where the protocol is a foreign one."""
    if foreign:
        return msgspec.json.encode({"error": document["detail"], **document}), b"application/json"
    return msgspec.json.encode(document), b"application/problem+json"
