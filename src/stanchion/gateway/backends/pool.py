"""Kept connections to one place."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import NamedTuple
from urllib.parse import urlsplit

from ...core.errors import Misconfigured
from .connections import Connection

_IDLE_SECONDS = 15.0
_PORTS = {"http": 80, "https": 443}
_NO_WAIT = 0.001


class Place(NamedTuple):
    """Where an origin is: what is connected to, and what its `Host` header says."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    name: str


def place_of(url: str) -> Place:
    """The place that a URL names. Raises Misconfigured."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        host.encode("idna")
        port = parts.port or _PORTS[parts.scheme]
    except (UnicodeError, ValueError, KeyError) as error:
        raise Misconfigured(f"{url!r:.200} names no host that can be reached") from error
    if not host or not host.isascii():
        # Two standards disagree about which host it would be.
        raise Misconfigured(
            f"{url!r:.200} names no host that can be reached", next_step="Write the host in ASCII, as `xn--...`."
        )
    tls = _verifying() if parts.scheme == "https" else None
    name = f"[{host}]" if ":" in host else host
    return Place(host, port, tls, name if port == _PORTS[parts.scheme] else f"{name}:{port}")


def _verifying() -> ssl.SSLContext:
    """TLS 1.2 or later to whom the machine's store of authorities vouches for, by name.

    The store is OpenSSL's own, or what SSL_CERT_FILE and SSL_CERT_DIR name when the upstream is made.
    """
    tls = ssl.create_default_context()
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    tls.set_alpn_protocols(["http/1.1"])
    return tls


class Pool:
    """At most `most` connections to one place, made when they are wanted and kept for some seconds after."""

    def __init__(self, place: Place, *, most: int, connect_seconds: float) -> None:
        self._place = place
        self._connect_seconds = connect_seconds
        self._room = asyncio.Semaphore(most)
        self._idle: list[Connection] = []
        self._good = ""
        self._closed = False

    async def take(self, seconds: float) -> Connection:
        """A connection that nobody else uses.

        Raises TimeoutError after so many seconds; OSError where none can be made, or not within the time for that.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        if self._room.locked():
            async with asyncio.timeout(max(seconds, _NO_WAIT)):
                await self._room.acquire()
        else:
            await self._room.acquire()
        try:
            while self._idle:
                kept = self._idle.pop()
                if kept.usable and loop.time() - kept.since < _IDLE_SECONDS and kept.quiet:
                    return kept
                kept.abort()
            left = until - loop.time()
            try:
                return await self._connected(loop, min(left, self._connect_seconds))
            except TimeoutError as error:
                if left <= self._connect_seconds:
                    raise
                # Nothing was asked yet, so this is no answer that is late.
                raise ConnectionError(f"no connection within {self._connect_seconds:g} s") from error
        except BaseException:
            self._room.release()
            raise

    def give(self, connection: Connection) -> None:
        """Take a connection back. What cannot be used again is closed."""
        connection.rest()
        self._room.release()
        if connection.usable and not self._closed:
            self._idle.append(connection)
        else:
            connection.abort()
        while self._idle and connection.since - self._idle[0].since > _IDLE_SECONDS:
            self._idle.pop(0).abort()

    def close(self) -> None:
        """Close those that are idle, and each other one once it is given back."""
        self._closed = True
        while self._idle:
            self._idle.pop().abort()

    async def _connected(self, loop: asyncio.AbstractEventLoop, seconds: float) -> Connection:
        place, faults = self._place, list[Exception]()
        async with asyncio.timeout(max(seconds, _NO_WAIT)):
            found = await loop.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
            # What answered last is asked first; one address that swallows packets must not use up the others' time.
            addresses = sorted(
                {str(address[4][0]) for address in found}, key=lambda each: (each != self._good, ":" in each)
            )
            for address in addresses:
                try:
                    async with asyncio.timeout(max(seconds / len(addresses), _NO_WAIT)):
                        _, made = await loop.create_connection(
                            lambda: Connection(loop),
                            address,
                            place.port,
                            ssl=place.tls,
                            server_hostname=place.host if place.tls is not None else None,
                        )
                except OSError as error:
                    faults.append(error)
                else:
                    self._good = address
                    return made
        raise faults[0]
