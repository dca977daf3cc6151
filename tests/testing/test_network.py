"""A test that reaches out is found, whatever it does with the refusal."""

from __future__ import annotations

import asyncio
import socket
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from stanchion.testing import no_network
from stanchion.testing.network import is_here

# Documentation addresses (RFC 5737, RFC 3849): nobody answers there, should the guard fail.
AWAY, AWAY6 = "192.0.2.1", "2001:db8::1"


def test_a_connection_elsewhere_is_refused_and_told() -> None:
    with no_network() as tried:
        for family, host in ((socket.AF_INET, AWAY), (socket.AF_INET6, AWAY6)):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(family, kind) as link, pytest.raises(PermissionError, match="may not reach"):
                    link.connect((host, 9))
        with socket.socket() as link, pytest.raises(PermissionError):
            link.connect_ex((AWAY, 9))
        with socket.socket(type=socket.SOCK_DGRAM) as link, pytest.raises(PermissionError):
            link.sendto(b"x", (AWAY, 9))
    assert tried == [AWAY, AWAY, AWAY6, AWAY6, AWAY, AWAY]


def test_looking_up_a_name_is_reaching_out() -> None:
    with no_network() as tried, suppress(OSError):
        urllib.request.urlopen("http://example.invalid/")
    assert tried == ["example.invalid"]


async def test_an_asynchronous_connection_is_seen() -> None:
    with no_network() as tried:
        for host in (AWAY, "example.invalid"):
            with pytest.raises(OSError):
                await asyncio.open_connection(host, 9)
    assert tried == [AWAY, "example.invalid"]


def test_this_machine_stays_open(tmp_path: Path) -> None:
    with no_network() as tried:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(("localhost", server.getsockname()[1])).close()
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as link:
            server.bind(str(tmp_path / "s"))
            server.listen()
            link.connect(str(tmp_path / "s"))
    assert tried == []


def test_hosts_named_as_allowed_stay_open() -> None:
    with no_network() as outside, no_network(allow=[AWAY]) as inside, socket.socket() as link, suppress(OSError):
        link.connect((AWAY, 9))
    assert (inside, outside) == ([], [AWAY])


def test_sockets_are_as_they_were_afterwards() -> None:
    before = (socket.socket.connect, socket.getaddrinfo)
    with no_network():
        assert (socket.socket.connect, socket.getaddrinfo) != before
    assert (socket.socket.connect, socket.getaddrinfo) == before


@pytest.mark.parametrize(
    ("host", "here"),
    [
        *((host, True) for host in ("127.8.9.1", "::1", "::1%lo", "LOCALHOST", "0.0.0.0", "")),
        *((host, False) for host in ("10.0.0.1", "169.254.169.254", "example.com", "localhost.example.com")),
    ],
)
def test_loopback_is_told_by_its_address(host: str, here: bool) -> None:
    assert is_here(host) is here
