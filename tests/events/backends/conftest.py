"""Brokers of a test's own, as processes that it may kill, stop and start again."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .servers import Kind, Server, private_server


@pytest.fixture(params=["nats", "redis"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server() -> Iterator[Callable[[Kind], Server]]:
    """Starts a private server of a kind, in a folder that its user may enter; it ends with the test."""
    with ExitStack() as stack:

        def starts(kind: Kind) -> Server:
            folder = Path(tempfile.mkdtemp(prefix=f"stanchion-{kind}-"))
            folder.chmod(0o755)
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            if kind == "kafka":
                pytest.importorskip("confluent_kafka", reason="the extra `kafka` is not installed")
            try:
                server = private_server(kind, folder)
            except FileNotFoundError as error:
                if os.environ.get("STANCHION_REQUIRE_SERVERS") == "1":
                    pytest.fail(str(error))
                pytest.skip(str(error))
            server.start()
            stack.callback(server.end)
            return server

        yield starts


@pytest.fixture
def broker(kind: Kind, server: Callable[[Kind], Server]) -> Server:
    """A running private broker of that kind."""
    return server(kind)
