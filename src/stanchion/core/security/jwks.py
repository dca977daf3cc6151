"""The public keys of a token issuer (RFC 7517): fetched, kept, and fetched again when a new key appears."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

from ..clock import Clock
from ..errors import Misconfigured, Unavailable

Fetch = Callable[[str], Awaitable[bytes]]

FAMILIES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
"""The `kty` that goes with an algorithm, by the algorithm's first two letters. A shared secret (`oct`) is none."""
_FRESH_SECONDS = 3600.0
_AGAIN_SECONDS = 30.0
_RETRY_SECONDS = 5.0
_MOST_BYTES = 1 << 20
_LEAST_RSA_BITS = 2048


async def fetch_https(url: str) -> bytes:
    """The body of one GET without redirects, at most 1 MiB in 5 seconds. Raises Unavailable."""
    import aiohttp

    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            body = await response.content.read(_MOST_BYTES + 1)
            if response.status != 200 or len(body) > _MOST_BYTES:
                raise Unavailable(f"the issuer's keys could not be fetched: status {response.status}")
            return body
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Unavailable("the issuer's keys could not be fetched") from error


class VerifyingKey(NamedTuple):
    """A public key of `cryptography`, and the one algorithm it is for, where its issuer says so."""

    kty: str
    algorithm: str | None
    key: Any


class KeySet:
    """One issuer's keys by `kid`. Read at the first use, each hour, and on an unknown `kid` at most every 30 s.

    When that fails, the keys known so far stay good.
    """

    def __init__(self, *, url: str | None, file: Path | None, fetch: Fetch, clock: Clock) -> None:
        if (url is None) == (file is None):
            raise Misconfigured("an issuer needs jwks_url or jwks_file, and not both")
        if url is not None and not url.startswith("https://"):
            raise Misconfigured(f"jwks_url must be an https URL, not {url!r}")
        self._url = url
        self._file = file
        self._fetch = fetch
        self._clock = clock
        self._keys: dict[str, VerifyingKey] = {}
        self._tried_at: float | None = None
        self._lock = asyncio.Lock()

    async def key(self, kid: str) -> VerifyingKey | None:
        """The key of this id, or None. Raises Unavailable while no keys could be read at all."""
        if self._due(kid):
            async with self._lock:
                if self._due(kid):
                    await self._read()
        if not self._keys:
            raise Unavailable("the token issuer's keys are not to be had")
        return self._keys.get(kid)

    def _due(self, kid: str) -> bool:
        if self._tried_at is None:
            return True
        age = self._clock.monotonic() - self._tried_at
        unknown_after = _AGAIN_SECONDS if self._keys else _RETRY_SECONDS
        return age >= _FRESH_SECONDS or (kid not in self._keys and age >= unknown_after)

    async def _read(self) -> None:
        try:
            self._keys = _usable(json.loads(await self._content())) or self._keys
        except (Unavailable, OSError, ValueError, LookupError, TypeError, AttributeError):
            # What is known stays good: an issuer's outage locks nobody out.
            return
        finally:
            self._tried_at = self._clock.monotonic()

    async def _content(self) -> bytes:
        if self._file is not None:
            return await asyncio.to_thread(self._file.read_bytes)
        # Only one of the two is None.
        return await self._fetch(self._url or "")


def _usable(document: dict[str, Any]) -> dict[str, VerifyingKey]:
    """The signature keys of a set that name themselves; a `kid` given twice names none."""
    import jwt

    keys: dict[str, VerifyingKey] = {}
    twice: set[str] = set()
    for entry in document["keys"]:
        kid, kty = entry.get("kid"), entry.get("kty")
        if kty not in FAMILIES.values() or entry.get("use", "sig") != "sig" or not isinstance(kid, str):
            continue
        try:
            key = jwt.PyJWK(entry).key
        except (jwt.PyJWTError, ValueError):
            continue
        if kty == "RSA" and key.key_size < _LEAST_RSA_BITS:
            continue
        if kid in keys:
            twice.add(kid)
        keys[kid] = VerifyingKey(kty, entry.get("alg"), key)
    return {kid: key for kid, key in keys.items() if kid not in twice}
