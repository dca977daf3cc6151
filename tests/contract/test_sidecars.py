"""Sidecars and the store of their advices keep their contract on every SQL engine, near and far."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stanchion.core.clock import SystemClock
from stanchion.core.flags.service import SCHEMA as FLAGS_SCHEMA
from stanchion.core.flags.service import FlagService
from stanchion.core.storage.open import open_database
from stanchion.core.telemetry.metrics import Metrics
from stanchion.serving import Advice, Serving, SidecarSpec
from stanchion.serving.backends.scripted import ScriptedRuntime
from stanchion.serving.module import MODULE
from stanchion.serving.pool import Pool
from stanchion.serving.service import ServingService
from stanchion.serving.sidecar.journal import AdviceJournal
from stanchion.serving.sidecar.service import Predict, SidecarService
from stanchion.testing.clock import FakeClock
from stanchion.testing.sidecars import FLAGS, MODELS, SIDECARS, SidecarsSuite

from .test_serving import EmptyRegistry


@asynccontextmanager
async def started(url: str) -> AsyncIterator[ServingService]:
    database, clock, registry = open_database(url), SystemClock(), EmptyRegistry()
    assert MODULE.schema is not None
    await database.prepare(MODULE.schema())
    await database.prepare(FLAGS_SCHEMA)

    def sidecars(predict: Predict) -> SidecarService:
        return SidecarService(
            specs=SIDECARS,
            models=[spec.name for spec in MODELS],
            predict=predict,
            flags=FlagService(database=database, clock=clock, declared=FLAGS),
            journal=AdviceJournal(database, clock, days=90),
            metrics=Metrics(),
            clock=clock,
            owner="t1",
        )

    held: Any = registry
    service = ServingService(
        specs=MODELS,
        registry=held,
        runtime=ScriptedRuntime(),
        metrics=Metrics(),
        clock=clock,
        tenant="t1",
        pool=Pool(threads=1, waiting=1),
        sidecars=sidecars,
    )
    await service.start()
    yield service
    await service.stop()
    await database.close()


class TestInMemory(SidecarsSuite):
    @pytest.fixture
    async def serving(self) -> AsyncIterator[Serving]:
        async with started("memory:") as service:
            yield service


class TestOnSqlite(SidecarsSuite):
    @pytest.fixture
    async def serving(self, tmp_path: Path) -> AsyncIterator[Serving]:
        async with started(f"sqlite://{tmp_path}/state.db") as service:
            yield service


class TestOnPostgres(SidecarsSuite):
    @pytest.fixture
    async def serving(self, postgres_url: str) -> AsyncIterator[Serving]:
        async with started(postgres_url) as service:
            yield service


class TestFarAway(SidecarsSuite):
    @pytest.fixture
    async def serving(self, far: Any) -> AsyncIterator[Serving]:
        async with started("memory:") as service, far("serving", Serving, service) as client:
            yield client


async def _forgets(url: str) -> None:
    database, clock = open_database(url), FakeClock(datetime(2026, 3, 1, tzinfo=UTC))
    assert MODULE.schema is not None
    await database.prepare(MODULE.schema())
    spec = SidecarSpec("price", "echo", "on", "price")
    for request in ("old", "new"):
        journal = AdviceJournal(database, clock, days=30)
        await journal.start()
        journal.note("t1", Advice(request, "price", "base", "error", 1.0, 1.0))
        await journal.stop()
        clock.advance(29 * 86_400)
    later = AdviceJournal(database, clock, days=30)
    assert (await later.report("t1", spec, 3650)).calls == 2
    await later.start()
    assert (await later.report("t1", spec, 3650)).calls == 1
    await later.stop()
    await database.close()


async def test_advices_are_forgotten_in_time_in_sqlite(tmp_path: Path) -> None:
    await _forgets(f"sqlite://{tmp_path}/state.db")


async def test_advices_are_forgotten_in_time_in_postgresql(postgres_url: str) -> None:
    await _forgets(postgres_url)
