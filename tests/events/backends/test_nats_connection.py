"""What the client of NATS does with a cancellation does not keep the bus from giving up."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from stanchion.core import tasks
from stanchion.core.errors import Unavailable
from stanchion.events.backends.nats import connection


async def stubborn(*given: Any, **more: Any) -> None:
    with suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    await asyncio.Event().wait()


async def test_a_client_that_swallows_its_cancellation_is_given_up_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tasks, "AGAIN_SECONDS", 0.02)
    monkeypatch.setattr(connection, "_TO_CONNECT", 0.02)
    link = connection.Connection(["nats://127.0.0.1:1"], stream="s", replicas=1, user="", password="")
    monkeypatch.setattr(link.client, "connect", stubborn)

    async with asyncio.timeout(30):
        with pytest.raises(Unavailable, match="did not answer"):
            await link.open(interrupted=lambda reason: None)
