"""Pipelines keep their contract over every database, with the gate and another process between, and without."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from stanchion.core.clock import SystemClock
from stanchion.core.storage.open import open_blobs, open_database
from stanchion.pipelines import Pipelines
from stanchion.pipelines.backends.tables import SCHEMA
from stanchion.testing.pipeline_runs import PipelineSuite, declared
from stanchion.testing.pipelines import pipeline_service


@asynccontextmanager
async def opened(url: str, done: list[str]) -> AsyncIterator[Pipelines]:
    database = open_database(url, durable=False)
    await database.prepare(SCHEMA)
    # Nothing is small enough to lie in the journal: the way through blobs is the one that is tested.
    service = await pipeline_service(database, open_blobs("memory:"), declared(done), clock=SystemClock(), inline=8)
    await service.start()
    try:
        yield service
    finally:
        await service.stop()
        await database.close()


class Told:
    """What stages tell the test."""

    @pytest.fixture
    def done(self) -> list[str]:
        return []


class TestMemory(Told, PipelineSuite):
    @pytest.fixture
    async def pipelines(self, done: list[str]) -> AsyncIterator[Pipelines]:
        async with opened("memory:", done) as service:
            yield service


class TestSqlite(Told, PipelineSuite):
    @pytest.fixture
    async def pipelines(self, done: list[str], tmp_path: Path) -> AsyncIterator[Pipelines]:
        async with opened(f"sqlite://{tmp_path}/state.db", done) as service:
            yield service


class TestPostgres(Told, PipelineSuite):
    @pytest.fixture
    async def pipelines(self, done: list[str], postgres_url: str) -> AsyncIterator[Pipelines]:
        async with opened(postgres_url, done) as service:
            yield service


class TestFar(Told, PipelineSuite):
    @pytest.fixture
    async def pipelines(self, done: list[str], far: Callable[..., Any]) -> AsyncIterator[Pipelines]:
        async with opened("memory:", done) as service, far("pipelines", Pipelines, service) as client:
            yield client
