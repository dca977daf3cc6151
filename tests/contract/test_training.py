"""Training keeps its contract near and far."""

from __future__ import annotations

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
from stanchion.registry.backends.sql import SqlStore
from stanchion.registry.backends.tables import SCHEMA
from stanchion.registry.packages import Packages
from stanchion.registry.seal import Seal
from stanchion.registry.service import RegistryService
from stanchion.registry.watching import Watch
from stanchion.testing.training import TrainingSuite
from stanchion.training import Training, TrainingSpec
from stanchion.training.backends.folders import FolderWorkspace
from stanchion.training.backends.scripted import ScriptedTrainer
from stanchion.training.service import TrainingService


def never(*_: object) -> Any:
    raise AssertionError("only a real worker runs declared code")


async def coded() -> str:
    return "sha256:test"


@asynccontextmanager
async def started(folder: Path) -> AsyncIterator[TrainingService]:
    database, blobs, clock = open_database("memory:"), open_blobs("memory:"), SystemClock()
    await database.prepare(SCHEMA)
    store = SqlStore(database)
    registry = RegistryService(
        store=store,
        packages=Packages(store, blobs, clock=clock, most_bytes=1 << 20, abandoned_after=timedelta(hours=1)),
        seal=Seal(Signer.generate()),
        watch=Watch(store, poll_seconds=60),
        clock=clock,
        development=True,
    )
    service = TrainingService(
        specs=[TrainingSpec(name, BaseModel, BaseModel, never, never) for name in ("suite", "another")],
        registry=registry,
        trainer=ScriptedTrainer(),
        workspace=FolderWorkspace(folder),
        system_file=folder / "system.py",
        code_version=coded,
        tenant="t1",
        clock=clock,
    )
    await service.start()
    yield service
    await service.stop()
    await blobs.close()
    await database.close()


class TestNear(TrainingSuite):
    @pytest.fixture
    async def training(self, tmp_path: Path) -> AsyncIterator[Training]:
        async with started(tmp_path) as service:
            yield service


class TestFarAway(TrainingSuite):
    @pytest.fixture
    async def training(self, tmp_path: Path, far: Any) -> AsyncIterator[Training]:
        async with started(tmp_path) as service, far("training", Training, service) as client:
            yield client
