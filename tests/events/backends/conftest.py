"""Brokers of a test's own, as processes that it may kill, stop and start again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

PATIENCE = 60.0


class Broker:
    """A server process over a folder that outlives it."""

    def __init__(self, url: str, command: Sequence[str], port: int) -> None:
        self.url = url
        self._command, self._port = command, port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        until = time.monotonic() + PATIENCE
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=1):
                return
            assert self._process.poll() is None, "the broker ended at its start"
            assert time.monotonic() < until, "the broker does not listen"
            time.sleep(0.02)

    def kill(self) -> None:
        """End it as a loss of its process would."""
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait(PATIENCE)

    def freeze(self) -> None:
        """Let it stand still, with all connections open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, number)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])


def commands(kind: str, folder: Path, port: int) -> tuple[str, list[str]]:
    """The URL and the command of a server with a folder of its own, which keeps what it acknowledges."""
    if kind == "nats":
        return f"nats://127.0.0.1:{port}", [
            "nats-server",
            "-a",
            "127.0.0.1",
            "-p",
            str(port),
            "-js",
            "-sd",
            str(folder),
        ]
    keeps = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
    place = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder)]
    return f"redis://127.0.0.1:{port}/0", ["redis-server", *place, *keeps]


@pytest.fixture(params=["nats", "redis"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def broker(kind: str, tmp_path: Path) -> Iterator[Broker]:
    """A running private broker of that kind."""
    program = f"{kind}-server"
    if shutil.which(program) is None:
        if os.environ.get("STANCHION_REQUIRE_SERVERS") == "1":
            pytest.fail(f"there is no {program} here")
        pytest.skip(f"there is no {program} here")
    folder = tmp_path / kind
    folder.mkdir()
    port = free_port()
    url, command = commands(kind, folder, port)
    broker = Broker(url, command, port)
    broker.start()
    yield broker
    broker.thaw()
    broker.kill()
