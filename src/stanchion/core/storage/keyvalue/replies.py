"""Reads of Redis for what the bytes cost: MGET over one connection, many under way, replies in the order of commands.

redis-py spends more on a reply than the server and the network together. Only reads come this way, over plain TCP:
they may be asked again, so a connection that breaks costs nobody anything.
Source: Redis serialization protocol (RESP2), https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, cast

from redis.exceptions import ResponseError

_ARRAY, _BULK, _SIMPLE = b"*$+"


class Replies(asyncio.Protocol):
    """One connection. Its faults are OSErrors; what the server refuses is a ResponseError."""

    _transport: asyncio.Transport | None = None

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._late: asyncio.TimerHandle | None = None
        self._rest = b""
        self._items: list[bytes | None] = []
        self._size = -1

    def usable(self) -> bool:
        """Whether it is open, and of the running event loop."""
        return self._transport is not None and self._loop is asyncio.get_running_loop()

    def ask(self, *words: bytes) -> asyncio.Future[Any]:
        """Send a command; its reply to come."""
        if self._transport is None:
            raise ConnectionResetError("the connection was lost")
        reply: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append(reply)
        if self._late is None:
            self._late = self._loop.call_later(self._seconds, self._look, reply)
        parts = [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
        self._transport.write(b"*%d\r\n%b" % (len(words), b"".join(parts)))
        return reply

    def close(self) -> None:
        """Close it at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        while self._waiting:
            self._settle(ConnectionResetError("the connection was lost"))

    def data_received(self, data: bytes) -> None:
        data, at = self._rest + data, 0
        while (end := data.find(b"\r\n", at)) >= 0:
            mark, after = data[at], end + 2
            if mark == _BULK:
                size = int(data[at + 1 : end])
                stop = after + size
                if size < 0:
                    self._items.append(None)
                elif stop + 2 > len(data):
                    break
                else:
                    self._items.append(data[after:stop])
                    after = stop + 2
            elif mark == _ARRAY:
                self._size, self._items = int(data[at + 1 : end]), []
            else:
                told = data[at:end].decode(errors="replace")
                self._settle(told if mark == _SIMPLE else ResponseError(told))
            at = after
            if len(self._items) == self._size:
                self._size = -1
                self._settle(self._items)
        self._rest = data[at:]

    def _settle(self, reply: Any) -> None:
        waiting = self._waiting.popleft()
        if waiting.done():  # a cancelled caller has left
            return
        if isinstance(reply, Exception):
            waiting.set_exception(reply)
        else:
            waiting.set_result(reply)

    def _look(self, oldest: asyncio.Future[Any]) -> None:
        """Break off where one reply was waited for all the time; else look again later."""
        self._late = None
        if oldest in self._waiting:
            self._settle(TimeoutError("no reply came in time"))
            self.close()
        elif self._waiting:
            self._late = self._loop.call_later(self._seconds, self._look, self._waiting[-1])


class Reads:
    """The connection for reads of one Redis, made when it is wanted.

    `given` is what redis-py read in the URL; `plain` tells whether it can be read this way.
    """

    _replies: Replies | None = None

    def __init__(self, url: str, given: Mapping[str, Any], seconds: float) -> None:
        self.plain = url.startswith("redis://") and "?" not in url
        self._given = given
        self._seconds = seconds

    async def get(self, names: Sequence[bytes]) -> list[bytes | None]:
        """The values in order. Raises OSError, ResponseError."""
        replies = self._replies
        if replies is None or not replies.usable():
            replies = await self._connected()
        found: list[bytes | None] = await replies.ask(b"MGET", *names)
        return found

    def close(self) -> None:
        """Close the connection."""
        if self._replies is not None:
            self._replies.close()

    async def _connected(self) -> Replies:
        given, loop = self._given, asyncio.get_running_loop()
        place = given.get("host", "localhost"), given.get("port", 6379)
        async with asyncio.timeout(self._seconds):
            _, made = await loop.create_connection(lambda: Replies(self._seconds), *place)
            if who := [given[name].encode() for name in ("username", "password") if given.get(name)]:
                await made.ask(b"AUTH", *who)
            if given.get("db"):
                await made.ask(b"SELECT", b"%d" % given["db"])
        if self._replies is not None and self._replies.usable():
            made.close()  # several callers had none at once, and one serves them all
        else:
            self._replies = made
        return self._replies
