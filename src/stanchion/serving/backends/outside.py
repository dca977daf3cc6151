"""Calls to one declared origin: within a time limit, with a secret fetched for each, with no redirect followed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from ...core.clock import Clock
from ...core.context import Context
from ...core.errors import DeadlineExceeded, InvalidInput, Unavailable
from ...core.redaction import redact
from ..contract.sources import Endpoint, Remote

if TYPE_CHECKING:
    import aiohttp

Secrets = Callable[[str], Awaitable[str]]
_CONNECT_SECONDS = 5.0
_TOLD = 300


class Outside:
    """A pool of connections to one origin, made at the first call."""

    def __init__(self, source: Remote | Endpoint, *, clock: Clock, secrets: Secrets) -> None:
        self._source = source
        self._url = source.url.rstrip("/")
        self._clock = clock
        self._secrets = secrets
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the pool."""
        if self._session is not None:
            await self._session.close()

    async def call(self, ctx: Context, method: str, path: str, body: object = None) -> Any:
        """The JSON that came back. `path` is appended to the declared URL and holds nothing that a caller sent.

        Raises InvalidInput where the far side refuses what was sent (400, 422), DeadlineExceeded, and Unavailable for
        all else: other statuses, redirects, answers that are no JSON or too long, no connection.
        """
        import aiohttp

        limit = self._limit(ctx)
        data = None if body is None else msgspec.json.encode(body)
        try:
            async with self._pool().request(
                method,
                self._url + path,
                data=data,
                headers=await self._headers(ctx),
                timeout=aiohttp.ClientTimeout(total=limit, sock_connect=_CONNECT_SECONDS),
                allow_redirects=False,
            ) as response:
                content = await self._read(response)
        except TimeoutError as error:
            raise DeadlineExceeded(f"{self._url} did not answer within {limit:.3g} s") from error
        except aiohttp.ClientError as error:
            raise Unavailable(f"{self._url} cannot be reached: {type(error).__name__}") from error
        if response.status != 200:
            self._refuse(response.status, content, response.headers.get("retry-after"))
        try:
            return msgspec.json.decode(content) if content else None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unavailable(f"{self._url} answered with something that is no JSON") from error

    def _pool(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None or self._session.closed:
            # No environment: a proxy or a netrc file of the machine must not decide where a model's inputs go.
            connector = aiohttp.TCPConnector(limit=self._source.connections)
            self._session = aiohttp.ClientSession(
                connector=connector, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session

    async def _headers(self, ctx: Context) -> dict[str, str]:
        flags = "01" if ctx.trace.sampled else "00"
        headers = {
            "content-type": "application/json",
            "traceparent": f"00-{ctx.trace.trace_id}-{ctx.trace.span_id}-{flags}",
            **self._source.headers,
        }
        credential = self._source.credential
        if credential is not None:
            headers[credential.header] = credential.prefix + await self._secrets(credential.reference)
        return headers

    def _limit(self, ctx: Context) -> float:
        if ctx.deadline is None:
            return self._source.seconds
        left = ctx.deadline - self._clock.monotonic()
        if left <= 0:
            raise DeadlineExceeded(f"no time was left to ask {self._url}")
        return min(left, self._source.seconds)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        pieces, total = [], 0
        async for piece in response.content.iter_chunked(1 << 16):
            total += len(piece)
            if total > self._source.most_bytes:
                raise Unavailable(f"{self._url} answered with more than {self._source.most_bytes} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    def _refuse(self, status: int, content: bytes, wait: str | None) -> NoReturn:
        told = redact(_message(content))
        if status in (400, 422):
            raise InvalidInput(f"{self._url} refused the input with {status}{told}")
        if 300 <= status < 400:
            raise Unavailable(f"{self._url} redirects ({status}), which is not followed")
        if status in (401, 403):
            raise Unavailable(
                f"{self._url} refused the caller with {status}", next_step="Check the declared credential."
            )
        after = float(wait) if wait is not None and wait.isdecimal() else None
        raise Unavailable(f"{self._url} answered with {status}{told}", retry_after=after)


def _message(content: bytes) -> str:
    """What an error body says, as the protocol (`error`) and problem documents (`detail`) have it."""
    try:
        told: Mapping[str, object] = msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
    text = told.get("error", told.get("detail"))
    return f": {text[:_TOLD]}" if isinstance(text, str) else ""
