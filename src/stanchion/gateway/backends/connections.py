"""One connection to an origin, with one request of HTTP/1.1 under way at a time.

A gateway sends a few headers and one body and reads a few headers and one body. A general client spends more on that
than all the rules of the gateway together, so the parser is asked directly.
Source: RFC 9112 (HTTP/1.1); the parser is llhttp, which keeps to it strictly.
"""

from __future__ import annotations

import asyncio
import ctypes
import select
import ssl
from collections import deque
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

_MOST_HEAD = 64 << 10
_LEAST_HEAD = 64  # what a head without any header counts, so that there is an end to those that come before the answer
_MOST_AHEAD = 1 << 18  # of a body that nobody reads: then its sender has to wait
# uvloop drops what it has decrypted of a paused connection that ends; so TLS is not paused for any usual answer.
_MOST_AHEAD_TLS = 8 << 20
_JOINED = 64 << 10
_BODILESS = (204, 304)
# `select.poll` gives the interpreter's lock away at every look, and has to win it back from the threads that write the
# ledgers: a fifteenth of what a call costs. This one keeps it.
_poll = ctypes.PyDLL(None).poll if hasattr(select, "poll") else None
_ONE = ctypes.c_ulong(1)


class _Watched(ctypes.Structure):
    """What is looked at, as POSIX has it for `poll`."""

    _fields_ = (("fd", ctypes.c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short))


class Connection(asyncio.Protocol):
    """One connection. `ask`, then `head`, then `piece` until it gives nothing; `kept` tells whether it may go on.

    Every method that waits raises ConnectionError where the connection or the answer breaks, TimeoutError where the
    time of the request has passed; what came before is given first.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._parser = HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._parts: deque[bytes] = deque()
        self._ahead = self._head_bytes = self._barren = 0
        self._asked = self._headed = self._ended = self._framed = self._paused = False
        self._most_ahead = _MOST_AHEAD
        self._fault: OSError | None = None
        self._watched: _Watched | None = None
        self.status = 0
        self.headers: dict[str, str] = {}
        self.since = 0.0

    # What the caller asks

    def ask(self, head: bytes, body: bytes, seconds: float) -> None:
        """Send a request, whose answer must have come to its end within so many seconds."""
        self._asked, self._headed, self._ended, self._framed = True, False, False, False
        self._head_bytes, self._barren, self._ahead, self.headers = 0, 0, 0, {}
        self._timer = self._loop.call_later(seconds, self._late)
        transport = self._open()
        if len(body) <= _JOINED:
            transport.write(head + body)
        else:
            transport.writelines((head, body))

    async def head(self) -> None:
        """Return once `status` and `headers` are those of the answer."""
        while not self._headed:
            await self._more()

    async def piece(self) -> bytes:
        """What has come of the body and was not given yet; nothing at its end."""
        while not self._parts:
            if self._ended:
                return b""
            await self._more()
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self._ahead = 0
        if self._paused:
            self._paused = False
            if self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()
        return data

    def rest(self) -> None:
        """The request is over, whatever came of it. A connection that cannot be used again is closed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        transport = self._transport
        if not self.usable or transport is None or transport.get_write_buffer_size():
            self.abort()  # also where the answer came before the whole request was taken
        self._asked = False
        self._parts.clear()
        self.since = self._loop.time()

    @property
    def usable(self) -> bool:
        """Whether another request may be sent, once the present one has ended."""
        kept = self._ended and self._framed and self._fault is None and not self._paused
        return kept and self._transport is not None and not self._transport.is_closing()

    @property
    def quiet(self) -> bool:
        """Whether nothing has come since the last answer, not even the server's end of the connection.

        The event loop may not have got to that yet, and a request that is sent behind it is lost.
        """
        return _poll is None or self._watched is None or _poll(ctypes.byref(self._watched), _ONE, 0) == 0

    def abort(self) -> None:
        """Close it at once."""
        if self._transport is not None:
            self._transport.abort()

    def _open(self) -> asyncio.Transport:
        if self._transport is None:
            raise self._fault or ConnectionResetError("the connection was lost")
        return self._transport

    async def _more(self) -> None:
        if self._fault is not None:
            raise self._fault
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    # What the event loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._most_ahead = _MOST_AHEAD if transport.get_extra_info("ssl_object") is None else _MOST_AHEAD_TLS
        if _poll is not None:
            self._watched = _Watched(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        if self._fault is not None:
            return
        if not self._asked or self._ended:
            # Bytes that nobody asked for would be taken for the next answer.
            self._fail(ConnectionAbortedError("it sent more than was asked for"))
            return
        self._barren += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._ended = False  # nor is what it sent whole, if this came with its end
            self._fail(ConnectionAbortedError(f"it does not speak HTTP/1.1: {type(error).__name__}"))
        if self._barren > _MOST_HEAD and not self._ended:
            # The parser gathers a header before it tells of it, and one may have no end.
            self._fail(ConnectionAbortedError("its head is too long"))
        if self._ahead > self._most_ahead and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        # A server that has done with sending has done with the connection, even if it goes on reading.
        self._over(whole=self._transport is None or _told(self._transport))

    def connection_lost(self, error: Exception | None) -> None:
        transport, self._transport = self._transport, None
        self._over(whole=error is None and (transport is None or transport.get_extra_info("ssl_object") is None))

    def _over(self, *, whole: bool) -> None:
        """Nothing more comes. A body without a length ends so; a length or a last chunk that is missing was cut off."""
        if whole and self._asked and self._headed and not self._framed and self._fault is None:
            self._ended = True
        self._fail(ConnectionResetError("the connection was lost"))

    def _late(self) -> None:
        self._fail(TimeoutError("the time of the request has passed"))

    def _fail(self, fault: OSError) -> None:
        self._fault = self._fault or fault
        self.abort()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # What the parser tells

    def on_message_begin(self) -> None:
        if self._ended:
            raise ConnectionAbortedError("it sent two answers")

    def on_status(self, reason: bytes) -> None:
        self._count(reason)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(name + value)
        if self._headed:
            return  # a trailer: what was decided by the head stays as it is
        lower = name.decode("latin-1").lower()
        self.headers[lower] = value.decode("latin-1")
        if lower in ("content-length", "transfer-encoding"):
            self._framed = True
            if lower == "transfer-encoding" and value.lower() != b"chunked":
                raise ConnectionAbortedError("its answer is coded in a way that was not asked for")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status < 200:
            if self._framed or self.status < 100:
                raise ConnectionAbortedError("what it tells before its answer has a body")
            self._count(bytes(_LEAST_HEAD))
            self.headers = {}
            return
        # These have no body, whatever their headers say.
        self._framed = self._framed or self.status in _BODILESS
        self._headed = True

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)
        self._barren = 0
        self._ahead += len(body)

    def on_message_complete(self) -> None:
        if self._headed:
            self._ended = True
            self._framed = self._framed and self._parser.should_keep_alive()

    def _count(self, part: bytes) -> None:
        self._head_bytes += len(part)
        if self._head_bytes > _MOST_HEAD:
            raise ConnectionAbortedError("its head is too long")


def _told(transport: asyncio.Transport) -> bool:
    """Whether the end of what was sent is its sender's. Without TLS nobody can tell.

    With TLS its sender says so; else anybody on the way may have cut it off. Source: RFC 9112, section 9.8.
    """
    tls = transport.get_extra_info("ssl_object")
    try:
        return tls is None or not tls.read(1)
    except ssl.SSLZeroReturnError:
        return True
    except ssl.SSLError:
        return False
