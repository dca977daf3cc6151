"""A database with the tables of events, for streams without a bus."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stanchion.core.module import load
from stanchion.core.storage import Database
from stanchion.core.storage.open import open_database
from stanchion.testing.events import sqlite_url


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    schema = load("events").schema
    assert schema is not None
    made = open_database(sqlite_url(tmp_path))
    await made.prepare(schema())
    yield made
    await made.close()
