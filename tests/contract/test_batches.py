"""Batch jobs keep their contract on every SQL engine, near and far."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow", reason="the extra `batch` is not installed")

from stanchion.core.clock import SystemClock
from stanchion.core.storage.open import open_database
from stanchion.core.telemetry.metrics import Metrics
from stanchion.serving import Serving
from stanchion.serving.backends.scripted import ScriptedRuntime
from stanchion.serving.batch.paths import Folders
from stanchion.serving.batch.service import BatchService, Engines
from stanchion.serving.batch.store import BatchStore
from stanchion.serving.module import MODULE
from stanchion.serving.pool import Pool
from stanchion.serving.service import ServingService
from stanchion.testing.batches import SCORED, BatchesSuite

from .test_serving import EmptyRegistry


@asynccontextmanager
async def started(url: str, folder: Path) -> AsyncIterator[ServingService]:
    database, clock = open_database(url), SystemClock()
    registry: Any = EmptyRegistry()
    assert MODULE.schema is not None
    await database.prepare(MODULE.schema())
    pool, runtime = Pool(threads=1, waiting=4), ScriptedRuntime()
    batches = BatchService(
        store=BatchStore(database, clock),
        engines=Engines(registry, runtime, pool, 1),
        folders=Folders([str(folder)], owner="t1"),
        specs=[SCORED],
        owner="t1",
        clock=clock,
        at_once=1,
    )
    service = ServingService(
        specs=[SCORED],
        registry=registry,
        runtime=runtime,
        metrics=Metrics(),
        clock=clock,
        tenant="t1",
        pool=pool,
        batches=batches,
    )
    await service.start()
    yield service
    await service.stop()
    await database.close()


class TestInMemory(BatchesSuite):
    @pytest.fixture
    async def serving(self, folder: Path) -> AsyncIterator[Serving]:
        async with started("memory:", folder) as service:
            yield service


class TestOnSqlite(BatchesSuite):
    @pytest.fixture
    async def serving(self, folder: Path, tmp_path: Path) -> AsyncIterator[Serving]:
        async with started(f"sqlite://{tmp_path}/state.db", folder) as service:
            yield service


class TestOnPostgres(BatchesSuite):
    @pytest.fixture
    async def serving(self, folder: Path, postgres_url: str) -> AsyncIterator[Serving]:
        async with started(postgres_url, folder) as service:
            yield service


class TestFarAway(BatchesSuite):
    @pytest.fixture
    async def serving(self, folder: Path, far: Any) -> AsyncIterator[Serving]:
        async with started("memory:", folder) as service, far("serving", Serving, service) as client:
            yield client
