"""The listener where other processes of the mesh call the modules that are placed here."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.errors import Misconfigured
from ...core.remote import serve
from ...system.house import House
from ..server import Listener, bind


def mesh_listener(house: House) -> Sequence[Listener]:
    """One listener over mutual TLS if `mesh.listen` is set; it offers every module built in this process."""
    address = house.settings.mesh.listen
    if address is None:
        return ()
    if house.mesh is None:
        raise Misconfigured("mesh.listen is set, but this process has no mesh identity")
    from starlette.applications import Starlette

    from ...core.security.peer import PeerProtocol

    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise Misconfigured(f"mesh.listen is HOST:PORT, not {address!r}")
    routes = [
        route
        for name, module in house.modules.items()
        for route in serve(name, module.contract, house.service_named(name), house.mesh.passports)
    ]
    app = Starlette(routes=routes)
    return (Listener(app, bind(host, int(port)), tls=house.mesh.server(), protocol=PeerProtocol),)
