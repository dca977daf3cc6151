"""Which addresses an outgoing call may reach, checked when a socket is made: a name may mean anything by then.

Source: OWASP, Server-Side Request Forgery Prevention; IANA special-purpose address registries, as `ipaddress` has them.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import Any

from ...core.errors import Misconfigured, NotAllowed

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def networks_of(given: Sequence[str]) -> tuple[Network, ...]:
    """The networks that are permitted beside the public one. Raises Misconfigured."""
    try:
        return tuple(ipaddress.ip_network(each) for each in given)
    except ValueError as error:
        raise Misconfigured(f"events.webhook_networks: {error}", next_step="Write networks as 10.1.0.0/16.") from error


class Addresses:
    """Public addresses, and those of the permitted networks."""

    def __init__(self, permitted: Sequence[Network] = ()) -> None:
        self._permitted = tuple(permitted)

    def permits(self, text: str) -> bool:
        """Whether an address may be reached. One that holds another, as IPv6 may hold IPv4, is judged by that."""
        try:
            address: Address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            return False
        inner = _inner(address)
        if any(
            each in network
            for each in (address, inner)
            for network in self._permitted
            if each.version == network.version
        ):
            return True
        return all(
            each.is_global and not each.is_multicast and not each.is_reserved for each in (inner, _outer(address))
        )

    def check_literal(self, host: str) -> None:
        """Raises NotAllowed for an address in the place of a name that may not be reached."""
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return
        if not self.permits(host):
            raise forbidden(host)

    def private(self, host: str) -> bool:
        """Whether the host is an address of a permitted network, where plain http is taken."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._permitted if address.version == network.version)

    @property
    def socket_factory(self) -> Callable[[tuple[Any, ...]], socket.socket]:
        """Makes sockets for aiohttp, and none towards an address that may not be reached."""

        def made(found: tuple[Any, ...]) -> socket.socket:
            family, kind, protocol, _, address = found
            if not self.permits(str(address[0])):
                # An OSError, as that is what connecting may raise: the next address of the name is tried.
                raise PermissionError(errno.EACCES, f"the address {address[0]} may not be reached")
            return socket.socket(family, kind, protocol)

        return made


def forbidden(host: str) -> NotAllowed:
    """The error for an address outside the permitted networks."""
    return NotAllowed(
        f"webhooks may not be sent to {host}",
        next_step="Name a public address, or permit the network in events.webhook_networks.",
    )


def _inner(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
        if address.teredo is not None:
            return address.teredo[1]
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _outer(address: Address) -> Address:
    """The address itself, unless it only wraps another: then that one is all there is to judge."""
    if isinstance(address, ipaddress.IPv6Address) and (address.ipv4_mapped is not None or address in _NAT64):
        return _inner(address)
    return address
