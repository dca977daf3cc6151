"""The engines of the bus keep its port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from stanchion.core.clock import SystemClock
from stanchion.core.storage import Database
from stanchion.core.storage.open import open_database
from stanchion.events import Bus
from stanchion.events.backends.memory import MemoryBus
from stanchion.events.backends.sql import SqlBus
from stanchion.events.backends.tables import SCHEMA
from stanchion.testing.event_bus import BusSuite, OpensBus


class TestMemory(BusSuite):
    shared = False

    @pytest.fixture
    def opens(self) -> OpensBus:
        async def opens() -> Bus:
            return MemoryBus(SystemClock())

        return opens


class Sql(BusSuite):
    @pytest_asyncio.fixture
    async def databases(self) -> AsyncIterator[list[Database]]:
        opened: list[Database] = []
        yield opened
        for each in opened:
            await each.close()

    def opening(self, url: str, databases: list[Database]) -> OpensBus:
        async def opens() -> Bus:
            # A database of its own for each bus: as if each were in a process of its own.
            database = open_database(url, durable=False)
            databases.append(database)
            await database.prepare(SCHEMA)
            bus = SqlBus(database, SystemClock())
            await bus.start()
            return bus

        return opens


class TestSqlite(Sql):
    @pytest.fixture
    def opens(self, tmp_path: Path, databases: list[Database]) -> OpensBus:
        return self.opening(f"sqlite://{tmp_path}/state.db", databases)


class TestPostgres(Sql):
    @pytest.fixture
    def opens(self, postgres_url: str, databases: list[Database]) -> OpensBus:
        return self.opening(postgres_url, databases)
