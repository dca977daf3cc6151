"""The offline side of the feature store keeps its contract over every database and key-value engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from stanchion.core.storage.open import open_database, open_keyvalue
from stanchion.features import Features, ServiceSpec
from stanchion.features.backends.duck import Duck
from stanchion.features.backends.jobs import SqlJobs
from stanchion.features.backends.log import SqlLog
from stanchion.features.backends.tables import SCHEMA
from stanchion.features.materialise.service import Materialise, Pace
from stanchion.features.offline.relations import Relations
from stanchion.features.offline.service import Historical
from stanchion.features.offline.spine import Limits
from stanchion.features.online.catalogue import Catalogue
from stanchion.features.service import FeatureService
from stanchion.testing.clock import FakeClock
from stanchion.testing.offline_features import DECLARED, OfflineFeaturesSuite


async def opened(database_url: str, keyvalue_url: str, clock: FakeClock, folder: Path) -> AsyncIterator[Features]:
    database, keyvalue = open_database(database_url), open_keyvalue(keyvalue_url, clock=clock)
    await database.prepare(SCHEMA)
    catalogue, rows = Catalogue(DECLARED), SqlLog(database)
    engine = Duck(folder=folder / "spill", home=folder, memory_mb=256, threads=1)

    async def no_secret(name: str) -> str:
        raise AssertionError(name)

    plans = [shape.plan for shape in catalogue.shapes.values()]
    relations = Relations(plans, tenant="t1", resolve=no_secret, log=rows)
    services = [spec for spec in DECLARED if isinstance(spec, ServiceSpec)]
    limits = Limits(8, 100_000)
    yield FeatureService(
        catalogue,
        store=keyvalue,
        clock=clock,
        rows=rows,
        engine=engine,
        historical=Historical(services, catalogue.transforms, relations=relations, engine=engine, limits=limits),
        materialise=lambda values: Materialise(
            catalogue.shapes,
            values,
            relations=relations,
            engine=engine,
            jobs=SqlJobs(database),
            clock=clock,
            pace=Pace(timedelta(hours=1), timedelta(seconds=60)),
        ),
    )
    await keyvalue.close()
    await database.close()


class TestMemory(OfflineFeaturesSuite):
    @pytest.fixture
    async def features(self, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Features]:
        async for service in opened("memory:", "memory:", clock, tmp_path):
            yield service


class TestSqlite(OfflineFeaturesSuite):
    @pytest.fixture
    async def features(self, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Features]:
        async for service in opened(f"sqlite://{tmp_path}/s.db", f"sqlite://{tmp_path}/kv.db", clock, tmp_path):
            yield service


class TestServers(OfflineFeaturesSuite):
    """PostgreSQL and Redis."""

    @pytest.fixture
    async def features(
        self, clock: FakeClock, tmp_path: Path, postgres_url: str, redis_url: str, redis_prefix: str
    ) -> AsyncIterator[Features]:
        async for service in opened(postgres_url, f"{redis_url}?prefix={redis_prefix}", clock, tmp_path):
            yield service


class TestFarAway(OfflineFeaturesSuite):
    """Behind its gate, in the remote client's hands."""

    @pytest.fixture
    async def features(self, far: Any, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Features]:
        async for service in opened("memory:", "memory:", clock, tmp_path):
            async with far("features", Features, service) as client:
                yield client
