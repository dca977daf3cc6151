"""The registry keeps its contract over every database and blob store, with its gate and without."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from stanchion.core.clock import SystemClock
from stanchion.core.security.signing import Signer
from stanchion.core.storage.open import open_blobs, open_database
from stanchion.registry import Registry
from stanchion.registry.backends.sql import SqlStore
from stanchion.registry.backends.tables import SCHEMA
from stanchion.registry.packages import Packages
from stanchion.registry.seal import Seal
from stanchion.registry.service import RegistryService
from stanchion.registry.watching import Watch
from stanchion.testing.registry import RegistrySuite


async def opened(database_url: str, blobs_url: str) -> AsyncIterator[Registry]:
    database, blobs = open_database(database_url, durable=False), open_blobs(blobs_url)
    await database.prepare(SCHEMA)
    store, clock = SqlStore(database), SystemClock()
    service = RegistryService(
        store=store,
        packages=Packages(store, blobs, clock=clock, most_bytes=1 << 30, abandoned_after=timedelta(hours=1)),
        seal=Seal(Signer.generate()),
        watch=Watch(store, poll_seconds=1.0),
        clock=clock,
        development=False,
    )
    await service.start()
    yield service
    await service.stop()
    await blobs.close()
    await database.close()


class TestMemory(RegistrySuite):
    @pytest.fixture
    async def registry(self) -> AsyncIterator[Registry]:
        async for service in opened("memory:", "memory:"):
            yield service


class TestSqliteAndFolder(RegistrySuite):
    @pytest.fixture
    async def registry(self, tmp_path: Path) -> AsyncIterator[Registry]:
        async for service in opened(f"sqlite://{tmp_path}/state.db", (tmp_path / "blobs").as_uri()):
            yield service


class TestPostgresAndS3(RegistrySuite):
    @pytest.fixture
    async def registry(self, postgres_url: str, s3_url: str) -> AsyncIterator[Registry]:
        async for service in opened(postgres_url, s3_url):
            yield service


class TestFarAway(RegistrySuite):
    """Behind its gate, in the remote client's hands."""

    @pytest.fixture
    async def registry(self, far: Any) -> AsyncIterator[Registry]:
        async for service in opened("memory:", "memory:"):
            async with far("registry", Registry, service) as client:
                yield client
