"""Reaches one upstream over HTTP: its origin alone, within its limits, with its secret fetched for each call.

No redirect is followed, and nothing of the environment decides where a conversation goes.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from types import TracebackType
from urllib.parse import urlsplit

from ...core.clock import Clock
from ...core.context import Context
from ...core.errors import DeadlineExceeded, Unavailable
from ..contract.specs import Credential, Kind, UpstreamSpec
from ..dialects.sigv4 import authorised
from ..ports import Response, Transport, Wire
from .connections import Connection
from .encodings import Unpacked, unpacked
from .pool import Pool, place_of

Secrets = Callable[[str], Awaitable[str]]

_KEYS: Mapping[Kind, Credential] = {
    "azure": Credential("env:-", "api-key", ""),
    "anthropic": Credential("env:-", "x-api-key", ""),
    "gemini": Credential("env:-", "x-goog-api-key", ""),
}
_LONGEST_PROBE = 10.0
_BEARER = Credential("env:-", "authorization", "Bearer ")
# What the connection itself says, and nobody else.
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "expect", "upgrade", "te", "trailer"})
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET = re.compile(r"/[!-~]*")


class HttpTransport(Transport):
    """A pool of connections to one upstream, made as they are wanted."""

    def __init__(self, spec: UpstreamSpec, *, clock: Clock, secrets: Secrets) -> None:
        self._spec = spec
        self._clock = clock
        self._secrets = secrets
        place = place_of(spec.base)
        self._pool = Pool(place, most=spec.concurrency, connect_seconds=spec.connect_seconds)
        self._path = urlsplit(spec.base).path
        self._own = {name.lower(): value for name, value in spec.headers.items() if name.lower() not in _OURS}
        self._usual = {"accept": "*/*", "accept-encoding": "identity", "user-agent": "stanchion", "host": place.name}
        self._key = _key(spec)
        usual = ("content-type", "traceparent", "content-length", self._key.header)
        self._known = frozenset(filter(_NAME.fullmatch, (*self._usual, *self._own, *usual)))

    def send(self, ctx: Context, wire: Wire) -> _Exchange:
        """POST the wire. Raises Unavailable where no connection is made, DeadlineExceeded."""
        # The caller's own deadline is the ladder's business: a caller in a hurry is no fault of the upstream.
        return _Exchange(self, ctx, "POST", wire, self._spec.seconds)

    async def probe(self, ctx: Context, path: str) -> int:
        """The status of a GET. Raises Unavailable where no connection is made, DeadlineExceeded."""
        seconds = min(self._spec.seconds, _LONGEST_PROBE)
        async with _Exchange(self, ctx, "GET", Wire(path, b""), seconds) as response:
            return response.status

    async def close(self) -> None:
        """Close the pool."""
        self._pool.close()

    async def begun(self, ctx: Context, method: str, wire: Wire, seconds: float) -> Connection:
        """A connection on which the head of the answer has come; it is to be given back."""
        spec = self._spec
        if ctx.deadline is not None and ctx.deadline <= self._clock.monotonic():
            raise DeadlineExceeded(f"no time was left to ask the upstream {spec.name}")
        head = self._written(method, wire, await self._headers(ctx, wire))
        try:
            began = self._clock.monotonic()
            connection = await self._pool.take(seconds)
            try:
                left = seconds - (self._clock.monotonic() - began)
                if left <= 0:
                    raise TimeoutError
                connection.ask(head, wire.body, left)
                await connection.head()
            except BaseException:
                self._pool.give(connection)
                raise
        except TimeoutError as error:
            raise DeadlineExceeded(f"the upstream {spec.name} did not answer within {seconds:g} s") from error
        except OSError as error:
            raise Unavailable(f"the upstream {spec.name} cannot be reached: {_why(error)}") from error
        return connection

    def over(self, connection: Connection) -> None:
        """Take back what `begun` gave."""
        self._pool.give(connection)

    @property
    def spec(self) -> UpstreamSpec:
        """Whom it reaches."""
        return self._spec

    async def _headers(self, ctx: Context, wire: Wire) -> dict[str, str]:
        trace = ctx.trace
        headers = {
            "content-type": "application/json",
            "traceparent": f"00-{trace.trace_id}-{trace.span_id}-{'01' if trace.sampled else '00'}",
            **wire.headers,
            **self._own,
        }
        given = self._spec.credential
        if given is None:
            return headers
        secret = await self._secrets(given.reference)
        if self._spec.kind == "bedrock":
            url, now, region = self._spec.base + wire.path, self._clock.now(), self._spec.region
            headers |= authorised(secret, url=url, headers=headers, body=wire.body, now=now, region=region)
        else:
            headers[self._key.header] = self._key.prefix + secret
        return headers

    def _written(self, method: str, wire: Wire, headers: Mapping[str, str]) -> bytes:
        """The head of a request, to the byte. Raises Unavailable for what would make another request of it."""
        fields = {**self._usual, **headers, "content-length": str(len(wire.body))}
        target = self._path + wire.path or "/"
        text = f"{method} {target} HTTP/1.1\r\n" + "".join([f"{name}: {fields[name]}\r\n" for name in fields]) + "\r\n"
        lines = len(fields) + 2
        clean = text.count("\n") == lines and text.count("\r") == lines and "\0" not in text
        if not clean or _TARGET.fullmatch(target) is None or not all(map(_NAME.fullmatch, fields.keys() - self._known)):
            raise Unavailable(f"what the upstream {self._spec.name} would be sent is no request of HTTP")
        try:
            return text.encode()
        except UnicodeEncodeError as error:
            raise Unavailable(f"what the upstream {self._spec.name} would be sent is no text") from error


def _key(spec: UpstreamSpec) -> Credential:
    """Where the secret of the upstream's calls stands."""
    given, usual = spec.credential, _KEYS.get(spec.kind, _BEARER)
    if given is None or not given.header:
        return usual if given is None or not given.prefix else replace(usual, prefix=given.prefix)
    # A header of one's own has no prefix but the one that is declared with it.
    return replace(given, header=given.header.lower())


class _Exchange:
    """One request and its answer, as `async with`."""

    __slots__ = ("_connection", "_ctx", "_method", "_seconds", "_transport", "_wire")

    def __init__(self, transport: HttpTransport, ctx: Context, method: str, wire: Wire, seconds: float) -> None:
        self._transport = transport
        self._ctx = ctx
        self._method = method
        self._wire = wire
        self._seconds = seconds
        self._connection: Connection | None = None

    async def __aenter__(self) -> Response:
        self._connection = await self._transport.begun(self._ctx, self._method, self._wire, self._seconds)
        return _HttpResponse(self._connection, self._transport.spec)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            self._transport.over(self._connection)


class _HttpResponse(Response):
    """An answer whose head has come."""

    def __init__(self, connection: Connection, spec: UpstreamSpec) -> None:
        self.status = connection.status
        self.headers = connection.headers
        self._connection = connection
        self._spec = spec
        self._encoding = self.headers.get("content-encoding", "identity").strip().lower()
        self._packed: Unpacked | None = None
        self._total = 0

    async def read(self) -> bytes:
        """The whole body. Raises Unavailable where it is cut off or too long."""
        parts = []
        while (part := await self._next()) is not None:
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises Unavailable where it is cut off or too long."""
        while (part := await self._next()) is not None:
            if part:
                yield part

    async def _next(self) -> bytes | None:
        """What came next, unpacked, which may be nothing yet; None at the end."""
        name, most = self._spec.name, self._spec.most_bytes
        if self._packed is None and self._encoding != "identity":
            self._packed = unpacked(self._encoding, name)
        try:
            part = await self._connection.piece()
        except TimeoutError as error:
            limit = self._spec.seconds
            raise DeadlineExceeded(f"the upstream {name} did not answer within {limit:g} s") from error
        except OSError as error:
            raise Unavailable(f"the upstream {name} {_how(error)}") from error
        if not part:
            if self._packed is not None:
                self._packed.close()
            return None
        if self._packed is not None:
            part = self._packed.feed(part, most + 1 - self._total)
        self._total += len(part)
        if self._total > most:
            raise Unavailable(f"the upstream {name} answered with more than {most} bytes")
        return part


def _why(error: OSError) -> str:
    """Why there is no answer; of the operating system's own faults no more than their names, which hold no address."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message.rstrip('.')}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS with it: {error.reason or type(error).__name__}"
    return str(error) if error.errno is None and str(error) else type(error).__name__


def _how(error: OSError) -> str:
    """How an answer was broken off: by its end, or by what came instead of its rest."""
    ours = isinstance(error, ConnectionAbortedError) and error.errno is None
    return f"broke its answer: {error}" if ours else "cut its answer off"
