"""Tells the application which service is at the other end of a TLS connection: uvicorn itself does not."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .identity import spiffe_id


class PeerProtocol(HttpToolsProtocol):
    """Puts the SPIFFE id of the verified peer into `scope["extensions"]["tls_peer"]`; without one, nothing."""

    _peer: str | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        self._peer = None if tls is None else spiffe_id(tls.getpeercert())

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._peer is not None:
            self.scope["extensions"] = {"tls_peer": self._peer}  # type: ignore[dict-item]  # a text says it all
