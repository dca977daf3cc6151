"""Databases with the tables of security, one for each engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stanchion.core.security.tables import SECURITY_SCHEMA
from stanchion.core.storage.contract import Database
from stanchion.core.storage.open import open_database
from stanchion.testing.clock import FakeClock

PEPPER = b"p" * 32


def _url(engine: str, request: pytest.FixtureRequest, folder: Path) -> str:
    if engine == "memory":
        return "memory:"
    if engine == "sqlite":
        return f"sqlite://{folder / 'security.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database of each engine in turn."""
    opened = open_database(_url(request.param, request, tmp_path))
    await opened.prepare(SECURITY_SCHEMA)
    yield opened
    await opened.close()


@pytest.fixture
async def memory() -> AsyncIterator[Database]:
    """An empty database in memory, where the engine does not matter."""
    opened = open_database("memory:")
    await opened.prepare(SECURITY_SCHEMA)
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def pepper() -> bytes:
    return PEPPER
