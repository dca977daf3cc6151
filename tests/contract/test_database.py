"""The SQL engines keep the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from stanchion.core.storage import Database, Journal
from stanchion.core.storage.open import open_database
from stanchion.testing.database import DatabaseSuite, Opens


def opening(url: str) -> Opens:
    def opens(journal: Journal | None = None) -> Database:
        return open_database(url, journal=journal, durable=False)

    return opens


class TestMemory(DatabaseSuite):
    shared = False
    parallel = False

    @pytest.fixture
    def opens(self) -> Opens:
        return opening("memory:")


class TestSqlite(DatabaseSuite):
    @pytest.fixture
    def opens(self, tmp_path: Path) -> Opens:
        return opening(f"sqlite://{tmp_path}/state/some.db")


class TestPostgres(DatabaseSuite):
    @pytest.fixture
    def opens(self, postgres_url: str) -> Opens:
        return opening(postgres_url)
