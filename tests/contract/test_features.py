"""The feature store keeps its contract over every key-value engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stanchion.core.storage.open import open_keyvalue
from stanchion.features import Features
from stanchion.features.service import FeatureService
from stanchion.testing.clock import FakeClock
from stanchion.testing.features import SPECS as FEATURES
from stanchion.testing.features import FeaturesSuite


async def opened(url: str, clock: FakeClock) -> AsyncIterator[Features]:
    store = open_keyvalue(url, clock=clock)
    yield FeatureService(FEATURES, store=store, clock=clock)
    await store.close()


class TestMemory(FeaturesSuite):
    @pytest.fixture
    async def features(self, clock: FakeClock) -> AsyncIterator[Features]:
        async for service in opened("memory:", clock):
            yield service


class TestSqlite(FeaturesSuite):
    @pytest.fixture
    async def features(self, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Features]:
        async for service in opened(f"sqlite://{tmp_path}/kv.db", clock):
            yield service


class TestRedis(FeaturesSuite):
    @pytest.fixture
    async def features(self, clock: FakeClock, redis_url: str, redis_prefix: str) -> AsyncIterator[Features]:
        async for service in opened(f"{redis_url}?prefix={redis_prefix}", clock):
            yield service


class TestFarAway(FeaturesSuite):
    """Behind its gate, in the remote client's hands."""

    @pytest.fixture
    async def features(self, far: Any, clock: FakeClock) -> AsyncIterator[Features]:
        async for service in opened("memory:", clock):
            async with far("features", Features, service) as client:
                yield client
