"""The declared stages of serving and its feedback keep their contract near and far, on every SQL engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from stanchion.core.clock import SystemClock
from stanchion.core.security.tables import SECURITY_SCHEMA
from stanchion.core.security.vault import MasterKeys, Vault
from stanchion.core.storage import Database
from stanchion.core.storage.open import open_database
from stanchion.core.telemetry.metrics import Metrics
from stanchion.serving import Serving
from stanchion.serving.backends.scripted import ScriptedRuntime
from stanchion.serving.journal.desk import JournalDesk
from stanchion.serving.journal.journal import Journal
from stanchion.serving.module import MODULE
from stanchion.serving.pool import Pool
from stanchion.serving.service import ServingService
from stanchion.testing.feedback import STAGED, StagesSuite

from .test_serving import EmptyRegistry


@asynccontextmanager
async def started(url: str) -> AsyncIterator[ServingService]:
    database: Database = open_database(url)
    clock, registry = SystemClock(), EmptyRegistry()
    assert MODULE.schema is not None
    await database.prepare(SECURITY_SCHEMA)
    await database.prepare(MODULE.schema())
    vault = Vault(database, MasterKeys.single(b"k" * 32), clock=clock)
    journal = Journal(database, vault, clock, pseudonym=lambda tenant: tenant.encode().ljust(32, b"-"))
    held: Any = registry
    service = ServingService(
        specs=STAGED,
        registry=held,
        runtime=ScriptedRuntime(),
        metrics=Metrics(),
        clock=clock,
        tenant="t1",
        pool=Pool(threads=1, waiting=1),
        journal=JournalDesk(database, journal, clock),
    )
    await service.start()
    yield service
    await service.stop()
    await database.close()


class TestInMemory(StagesSuite):
    @pytest.fixture
    async def serving(self) -> AsyncIterator[Serving]:
        async with started("memory:") as service:
            yield service


class TestOnPostgres(StagesSuite):
    @pytest.fixture
    async def serving(self, postgres_url: str) -> AsyncIterator[Serving]:
        async with started(postgres_url) as service:
            yield service


class TestFarAway(StagesSuite):
    @pytest.fixture
    async def serving(self, far: Any) -> AsyncIterator[Serving]:
        async with started("memory:") as service, far("serving", Serving, service) as client:
            yield client
