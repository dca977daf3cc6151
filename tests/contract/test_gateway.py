"""The gateway keeps its contract on SQLite and PostgreSQL, near and far."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from stanchion.core.clock import SystemClock
from stanchion.core.module import Parts
from stanchion.core.security.signing import Signer
from stanchion.core.security.vault import MasterKeys, Vault
from stanchion.core.storage.open import open_blobs, open_database, open_keyvalue
from stanchion.core.telemetry.metrics import Metrics
from stanchion.gateway import Gateway
from stanchion.gateway.module import MODULE
from stanchion.testing.gateway import SPECS, GatewaySuite


@asynccontextmanager
async def started(url: str, folder: Path) -> AsyncIterator[Any]:
    clock = SystemClock()
    database, blobs, keyvalue = open_database(url), open_blobs("memory:"), open_keyvalue("memory:", clock=clock)
    parts = Parts(
        clock=clock,
        database=database,
        keyvalue=keyvalue,
        blobs=blobs,
        metrics=Metrics(),
        signer=Signer.generate(),
        vault=Vault(database, MasterKeys.single(bytes(32)), clock=clock),
        folder=str(folder),
        system_file="",
        development=True,
        tenant="t1",
        declared=SPECS,
    )
    service = await MODULE.build(parts, MODULE.settings())
    await service.start()
    try:
        yield service
    finally:
        await service.stop()
        await keyvalue.close()
        await blobs.close()
        await database.close()


class TestOnSqlite(GatewaySuite):
    @pytest.fixture
    async def gateway(self, tmp_path: Path) -> AsyncIterator[Gateway]:
        async with started(f"sqlite://{tmp_path}/state.db", tmp_path) as service:
            yield service


class TestOnPostgres(GatewaySuite):
    @pytest.fixture
    async def gateway(self, postgres_url: str, tmp_path: Path) -> AsyncIterator[Gateway]:
        async with started(postgres_url, tmp_path) as service:
            yield service


class TestFarAway(GatewaySuite):
    @pytest.fixture
    async def gateway(self, far: Any, tmp_path: Path) -> AsyncIterator[Gateway]:
        async with started("memory:", tmp_path) as service, far("gateway", Gateway, service) as client:
            yield client
