"""Proof that a program keeps to this machine: every connection to anywhere else is refused and told.

It sees what goes through Python's sockets: asyncio's own loop, aiohttp, urllib, redis-py. Compiled clients with
sockets of their own (libpq, uvloop, obstore) and other processes are not seen.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

_HERE = frozenset({"", "localhost", "localhost.localdomain", "ip6-localhost"})
_LOOKED_UP = ("getaddrinfo", "gethostbyname", "gethostbyname_ex")
_CONNECTS = ("connect", "connect_ex", "sendto")


@contextmanager
def no_network(*, allow: Collection[str] = ()) -> Iterator[list[str]]:
    """Refuse, with PermissionError, each connection and name look-up that leaves this machine; the hosts tried.

    Loopback addresses, Unix sockets and the hosts in `allow` stay open. Look at the list when the block has ended:
    code that takes the refusal for a fault of the network has hidden it.
    """
    tried: list[str] = []

    def check(host: object) -> None:
        name = host.decode(errors="replace") if isinstance(host, bytes) else host
        if isinstance(name, str) and name not in allow and not is_here(name):
            tried.append(name)
            raise PermissionError(errno.EPERM, f"a test may not reach {name}")

    with _replaced(check):
        yield tried


def is_here(host: str) -> bool:
    """Whether an address or name is this machine's own, without looking it up."""
    if host.lower() in _HERE:
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    # Connecting to the unspecified address reaches this machine.
    return address.is_loopback or address.is_unspecified


@contextmanager
def _replaced(check: Callable[[object], None]) -> Iterator[None]:
    def connecting(real: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(self: socket.socket, *arguments: Any) -> Any:
            # The address comes last. Unix sockets have a path there, which is no host.
            if self.family in (socket.AF_INET, socket.AF_INET6):
                check(arguments[-1][0])
            return real(self, *arguments)

        return guarded

    def looking_up(real: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(host: object, *arguments: Any, **named: Any) -> Any:
            check(host)
            return real(host, *arguments, **named)

        return guarded

    with ExitStack() as stack:
        for name in _CONNECTS:
            stack.enter_context(patch.object(socket.socket, name, connecting(getattr(socket.socket, name))))
        for name in _LOOKED_UP:
            stack.enter_context(patch.object(socket, name, looking_up(getattr(socket, name))))
        yield
