"""Reviews over a database, with what a test wants to look at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from stanchion.core.security.tables import SECURITY_SCHEMA
from stanchion.core.security.vault import MasterKeys, Vault
from stanchion.core.storage.open import open_database
from stanchion.review import ReviewSpec
from stanchion.review.backends.heralds import SilentHerald
from stanchion.review.backends.notifiers import NoNotifier
from stanchion.review.backends.sql import SqlStore
from stanchion.review.backends.tables import SCHEMA
from stanchion.review.desk import Bell, Desk
from stanchion.review.ports import Notifier
from stanchion.review.seals import Seals
from stanchion.review.service import ReviewService
from stanchion.testing.clock import FakeClock

Opens = Callable[..., AbstractAsyncContextManager[ReviewService]]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def opens(clock: FakeClock) -> Opens:
    @asynccontextmanager
    async def opened(
        *specs: ReviewSpec, url: str = "memory:", notifier: Notifier | None = None, **more: Any
    ) -> AsyncIterator[ReviewService]:
        database = open_database(url, durable=False)
        for schema in (SECURITY_SCHEMA, SCHEMA):
            await database.prepare(schema)
        vault = Vault(database, MasterKeys.single(b"review" * 8), clock=clock)
        store = SqlStore(database, SilentHerald())
        desk = Desk(store, Seals(store, vault), clock, {spec.name: spec for spec in specs}, Bell(), **more)
        yield ReviewService(desk, notifier or NoNotifier(), poll_seconds=0.05)
        await database.close()

    return opened
