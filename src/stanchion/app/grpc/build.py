"""Builds the gRPC listener of a house, if its settings ask for one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ...core.errors import Misconfigured
from ...system.house import House
from ..desk import house_desk

if TYPE_CHECKING:
    from .server import GrpcServer


def grpc_server(house: House) -> GrpcServer | None:
    """The bound listener, or None without `grpc.port`. Raises Misconfigured."""
    http, port = house.settings.http, house.settings.grpc.port
    if port is None:
        return None
    # The library would watch over every fork of this process, which starts its workers by exec, and log each.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    try:
        from .server import Certificate, GrpcServer
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"grpc.port is set, and the library {error.name} is not installed",
            next_step="Install stanchion[grpc], or leave grpc.port unset.",
        ) from error
    modules = [module for module in (*house.modules.values(), *house.distant.values()) if module.rpc is not None]
    if not modules:
        raise Misconfigured(
            "grpc.port is set, and no module of this process has a gRPC service",
            next_step="Leave grpc.port unset, or place serving in this system.",
        )
    services = [module.rpc(house.door(module.contract), lambda: not house.faults()) for module in modules if module.rpc]
    certificate = None
    if http.tls_certificate is not None and http.tls_key is not None:
        certificate = Certificate.of(http.tls_certificate, http.tls_key)
    return GrpcServer(services, house_desk(house), host=http.host, port=port, certificate=certificate)
