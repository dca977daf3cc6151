"""The module of events keeps its contract over every embedded engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from stanchion.testing.event_contract import EventsSuite, Opens
from stanchion.testing.events import running, sqlite_url


def opening(url: str, **settings: str) -> Opens:
    return lambda *declared, **more: running(url, *declared, **{**settings, **more})


class TestMemory(EventsSuite):
    @pytest.fixture
    def opens(self, tmp_path: Path) -> Opens:
        return opening(sqlite_url(tmp_path), bus="memory")


class TestSqlite(EventsSuite):
    @pytest.fixture
    def opens(self, tmp_path: Path) -> Opens:
        return opening(sqlite_url(tmp_path))


class TestPostgres(EventsSuite):
    @pytest.fixture
    def opens(self, postgres_url: str) -> Opens:
        return opening(postgres_url)
