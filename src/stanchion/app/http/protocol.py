"""The HTTP protocol of the public listener: uvicorn's, with the head and the body of an answer in one packet.

uvicorn writes them apart, and each write is a call to the kernel that wakes the client: a quarter of what a small
prediction costs in all.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class JoinedWrites:
    """A transport that holds what is written until the next piece, or the loop's next turn, whichever is first.

    Everything else goes to the real transport at once.
    """

    __slots__ = ("_held", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: bytes | None = None

    def write(self, data: bytes) -> None:
        """Send the piece with the one before it, or hold it for the one to come."""
        held = self._held
        if held is None:
            self._held = data
            # A stream's first piece may be long in coming: its head must not wait for it.
            self._loop.call_soon(self._flush)
        else:
            self._held = None
            self._transport.writelines((held, data))

    def close(self) -> None:
        """Send what is held, then close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            self._transport.write(held)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class PublicProtocol(HttpToolsProtocol):
    """What the public listener speaks."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        # uvicorn calls a transport by its methods alone; no protocol class names them all.
        self.transport = cast(asyncio.Transport, JoinedWrites(transport, self.loop))
