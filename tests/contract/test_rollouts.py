"""Rollouts and drills keep their contract on SQLite and PostgreSQL, near and far."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from stanchion.core.clock import SystemClock
from stanchion.core.security.signing import Signer
from stanchion.core.storage.open import open_blobs, open_database
from stanchion.core.telemetry.metrics import Metrics
from stanchion.registry import Draft, Lineage
from stanchion.registry.backends.sql import SqlStore
from stanchion.registry.backends.tables import SCHEMA
from stanchion.registry.packages import Packages
from stanchion.registry.seal import Seal
from stanchion.registry.service import RegistryService
from stanchion.registry.watching import Watch
from stanchion.serving import ServedSpec, Serving
from stanchion.serving.backends.scripted import ScriptedRuntime
from stanchion.serving.module import MODULE
from stanchion.serving.pool import Pool
from stanchion.serving.service import ServingService
from stanchion.testing.rollouts import ADA, RolloutsSuite


class Input(BaseModel):
    months: int


class Output(BaseModel):
    probability: float


def draft(number: int) -> Draft:
    return Draft(
        model="churn",
        format="onnx",
        input_schema=Input.model_json_schema(),
        output_schema=Output.model_json_schema(),
        metrics={},
        parameters={},
        metadata={
            "input": "features",
            "output": "probabilities",
            "columns": [{"name": "months", "kind": "number", "categories": []}],
            "probability": "probability",
            "rungs": {"primary": "model.onnx"},
        },
        lineage=Lineage("0" * 64, 100, "made up", "git:abc"),
        weights_sha256=hashlib.sha256(str(number).encode()).hexdigest(),
        card="",
    )


@asynccontextmanager
async def staged(url: str) -> AsyncIterator[ServingService]:
    database, blobs, clock = open_database(url), open_blobs("memory:"), SystemClock()
    await database.prepare(SCHEMA)
    assert MODULE.schema is not None
    await database.prepare(MODULE.schema())
    store = SqlStore(database)
    registry = RegistryService(
        store=store,
        packages=Packages(store, blobs, clock=clock, most_bytes=1 << 24, abandoned_after=timedelta(hours=1)),
        seal=Seal(Signer.generate()),
        watch=Watch(store, poll_seconds=0.05),
        clock=clock,
        development=True,
    )
    for number in range(2):
        await registry.register(ADA, draft(number), {"model.onnx": ScriptedRuntime.file(f"v{number}", 0.3)})
    await registry.promote(ADA, "churn", "1.0.0", to="production", evidence="first")
    service = ServingService(
        specs=[ServedSpec("churn", Input, Output)],
        registry=registry,
        runtime=ScriptedRuntime(),
        metrics=Metrics(),
        clock=clock,
        tenant="t1",
        pool=Pool(threads=1, waiting=1),
        database=database,
    )
    await service.start()
    try:
        yield service
    finally:
        await service.stop()
        await registry.stop()
        await blobs.close()
        await database.close()


class TestOnSqlite(RolloutsSuite):
    @pytest.fixture
    async def serving(self, tmp_path: Path) -> AsyncIterator[Serving]:
        async with staged(f"sqlite://{tmp_path}/state.db") as service:
            yield service


class TestOnPostgres(RolloutsSuite):
    @pytest.fixture
    async def serving(self, postgres_url: str) -> AsyncIterator[Serving]:
        async with staged(postgres_url) as service:
            yield service


class TestFarAway(RolloutsSuite):
    @pytest.fixture
    async def serving(self, far: Any) -> AsyncIterator[Serving]:
        async with staged("memory:") as service, far("serving", Serving, service) as client:
            yield client
