"""Reviews keep their contract over every database, with their gate and without."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stanchion.core.security.tables import SECURITY_SCHEMA
from stanchion.core.security.vault import MasterKeys, Vault
from stanchion.core.storage.open import open_database
from stanchion.review import Reviews
from stanchion.review.backends.heralds import SilentHerald
from stanchion.review.backends.notifiers import NoNotifier
from stanchion.review.backends.sql import SqlStore
from stanchion.review.backends.tables import SCHEMA
from stanchion.review.desk import Bell, Desk
from stanchion.review.seals import Seals
from stanchion.review.service import ReviewService
from stanchion.testing.clock import FakeClock
from stanchion.testing.review import ReviewSuite
from stanchion.testing.review_cases import SPECS, Passes


async def opened(url: str, clock: FakeClock) -> AsyncIterator[ReviewService]:
    database = open_database(url, durable=False)
    for schema in (SECURITY_SCHEMA, SCHEMA):
        await database.prepare(schema)
    vault = Vault(database, MasterKeys.single(b"review" * 8), clock=clock)
    store = SqlStore(database, SilentHerald())
    desk = Desk(store, Seals(store, vault), clock, {spec.name: spec for spec in SPECS}, Bell())
    yield ReviewService(desk, NoNotifier(), poll_seconds=0.05)
    await database.close()


class _Local(ReviewSuite):
    @pytest.fixture
    def passes(self, reviews: Reviews, clock: FakeClock) -> Passes:
        return _passes(reviews, clock)


def _passes(service: Any, clock: FakeClock) -> Passes:
    async def passes(seconds: float) -> None:
        clock.advance(seconds)
        await service.clock.tick()

    return passes


class TestMemory(_Local):
    @pytest.fixture
    async def reviews(self, clock: FakeClock) -> AsyncIterator[Reviews]:
        async for service in opened("memory:", clock):
            yield service


class TestSqlite(_Local):
    @pytest.fixture
    async def reviews(self, tmp_path: Path, clock: FakeClock) -> AsyncIterator[Reviews]:
        async for service in opened(f"sqlite://{tmp_path}/state.db", clock):
            yield service


class TestPostgres(_Local):
    @pytest.fixture
    async def reviews(self, postgres_url: str, clock: FakeClock) -> AsyncIterator[Reviews]:
        async for service in opened(postgres_url, clock):
            yield service


class TestFarAway(ReviewSuite):
    """Behind its gate, in the remote client's hands."""

    @pytest.fixture
    async def near(self, clock: FakeClock) -> AsyncIterator[ReviewService]:
        async for service in opened("memory:", clock):
            yield service

    @pytest.fixture
    async def reviews(self, near: ReviewService, far: Any) -> AsyncIterator[Reviews]:
        async with far("review", Reviews, near) as client:
            yield client

    @pytest.fixture
    def passes(self, near: ReviewService, clock: FakeClock) -> Passes:
        return _passes(near, clock)
