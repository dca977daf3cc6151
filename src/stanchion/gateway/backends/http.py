"""Reaches one upstream over HTTP: its origin alone, within its limits, with its secret fetched for each call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from ...core.clock import Clock
from ...core.context import Context
from ...core.errors import DeadlineExceeded, Unavailable
from ..contract.specs import Credential, Kind, UpstreamSpec
from ..dialects.sigv4 import authorised
from ..ports import Response, Transport, Wire

if TYPE_CHECKING:
    import aiohttp

Secrets = Callable[[str], Awaitable[str]]

_KEYS: Mapping[Kind, Credential] = {
    "azure": Credential("env:-", "api-key", ""),
    "anthropic": Credential("env:-", "x-api-key", ""),
    "gemini": Credential("env:-", "x-goog-api-key", ""),
}
_BEARER = Credential("env:-", "authorization", "Bearer ")


class HttpTransport(Transport):
    """A pool of connections to one upstream, made at the first call."""

    def __init__(self, spec: UpstreamSpec, *, clock: Clock, secrets: Secrets) -> None:
        # Loaded here, with the declaration, and not with the first call, whose time may be short.
        import aiohttp

        self._spec = spec
        self._clock = clock
        self._secrets = secrets
        # The caller's own deadline is the ladder's business: a caller in a hurry is no fault of the upstream.
        self._limit = aiohttp.ClientTimeout(total=spec.seconds, sock_connect=min(spec.connect_seconds, spec.seconds))
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def send(self, ctx: Context, wire: Wire) -> AsyncIterator[Response]:
        """POST the wire. Raises Unavailable where no connection is made, DeadlineExceeded."""
        import aiohttp
        from yarl import URL

        spec = self._spec
        if ctx.deadline is not None and ctx.deadline <= self._clock.monotonic():
            raise DeadlineExceeded(f"no time was left to ask the upstream {spec.name}")
        try:
            async with self._pool().post(
                # As it is signed, to the byte.
                URL(spec.base + wire.path, encoded=True),
                data=wire.body,
                headers=await self._headers(ctx, wire),
                timeout=self._limit,
                allow_redirects=False,
            ) as response:
                yield _HttpResponse(response, spec)
        except TimeoutError as error:
            raise DeadlineExceeded(f"the upstream {spec.name} did not answer within {spec.seconds:g} s") from error
        except aiohttp.ClientError as error:
            raise Unavailable(f"the upstream {spec.name} cannot be reached: {type(error).__name__}") from error

    async def close(self) -> None:
        """Close the pool."""
        if self._session is not None:
            await self._session.close()

    def _pool(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None or self._session.closed:
            # No environment: a proxy or a netrc file of the machine must not decide where conversations go.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._spec.concurrency),
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=1 << 18,
            )
        return self._session

    async def _headers(self, ctx: Context, wire: Wire) -> dict[str, str]:
        flags = "01" if ctx.trace.sampled else "00"
        headers = {
            "content-type": "application/json",
            "traceparent": f"00-{ctx.trace.trace_id}-{ctx.trace.span_id}-{flags}",
            **wire.headers,
            **self._spec.headers,
        }
        given = self._spec.credential
        if given is not None and self._spec.kind == "bedrock":
            secret = await self._secrets(given.reference)
            url, now, region = self._spec.base + wire.path, self._clock.now(), self._spec.region
            headers |= authorised(secret, url=url, headers=headers, body=wire.body, now=now, region=region)
        elif given is not None:
            usual = _KEYS.get(self._spec.kind, _BEARER)
            header = given.header or usual.header
            # A header of one's own has no prefix but the one that is declared with it.
            prefix = given.prefix or ("" if given.header else usual.prefix)
            headers[header] = prefix + await self._secrets(given.reference)
        return headers


class _HttpResponse(Response):
    """An answer whose head has come."""

    def __init__(self, response: aiohttp.ClientResponse, spec: UpstreamSpec) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self._response = response
        self._spec = spec

    async def read(self) -> bytes:
        """The whole body. Raises Unavailable where it is cut off or too long."""
        parts = [part async for part in self.pieces()]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises Unavailable where it is cut off or too long."""
        import aiohttp

        total, name, most = 0, self._spec.name, self._spec.most_bytes
        try:
            async for part in self._response.content.iter_any():
                total += len(part)
                if total > most:
                    raise Unavailable(f"the upstream {name} answered with more than {most} bytes")
                yield part
        except TimeoutError as error:
            raise DeadlineExceeded(f"the upstream {name} did not answer within {self._spec.seconds:g} s") from error
        except aiohttp.ClientError as error:
            raise Unavailable(f"the upstream {name} cut its answer off") from error
