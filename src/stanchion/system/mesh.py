"""This process's place in the mesh: its identity, its lines to other processes, and whom it lets in."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field

from ..core.clock import Clock
from ..core.errors import Misconfigured
from ..core.remote import Line
from ..core.security.identity import Credentials, client_context, server_context
from ..core.security.passport import Passports
from ..core.settings import HouseSettings, PlaceSettings


@dataclass(slots=True)
class Mesh:
    """Passports for calls that leave and that come in, and one line for each far process."""

    credentials: Credentials
    passports: Passports
    peers: tuple[str, ...]
    clock: Clock
    _lines: dict[str, Line] = field(default_factory=dict)

    def line(self, place: PlaceSettings) -> Line:
        """The connection to a far process, shared by all modules placed there. Raises Misconfigured."""
        if not place.url.startswith("https://"):
            raise Misconfigured(f"{place.url} is not https: calls between processes are always over mutual TLS")
        if place.url not in self._lines:
            self._lines[place.url] = Line(
                place.url,
                audience=place.identity,
                issuer=self.passports,
                clock=self.clock,
                tls=client_context(self.credentials, server=place.identity),
            )
        return self._lines[place.url]

    def server(self) -> ssl.SSLContext:
        """TLS for the listener where other processes call this one: only the named peers get in."""
        return server_context(self.credentials, peers=self.peers)

    async def close(self) -> None:
        """Close every line."""
        for line in self._lines.values():
            await line.close()


def open_mesh(settings: HouseSettings, clock: Clock) -> Mesh | None:
    """The mesh identity of this process, or None where none is configured.

    Raises Misconfigured for unusable files, or a certificate that is not for `mesh.identity`.
    """
    mesh = settings.mesh
    if mesh.certificate is None or mesh.key is None or mesh.authority is None:
        return None
    credentials = Credentials(mesh.certificate, mesh.key, mesh.authority)
    passports = Passports(credentials, clock=clock)
    if mesh.identity is not None and passports.identity != mesh.identity:
        raise Misconfigured(f"mesh.identity is {mesh.identity}, but the certificate is for {passports.identity}")
    return Mesh(credentials, passports, mesh.peers, clock)
