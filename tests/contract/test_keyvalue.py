"""The key-value engines keep the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from stanchion.core.storage import KeyValue
from stanchion.core.storage.open import open_keyvalue
from stanchion.testing.clock import FakeClock
from stanchion.testing.keyvalue import KeyValueSuite


class TestMemory(KeyValueSuite):
    @pytest.fixture
    def store(self, clock: FakeClock) -> KeyValue:
        return open_keyvalue("memory:", clock=clock)


class TestSqlite(KeyValueSuite):
    @pytest.fixture
    def store(self, clock: FakeClock, tmp_path: Path) -> KeyValue:
        return open_keyvalue(f"sqlite://{tmp_path}/kv/some.db", clock=clock)


class TestRedis(KeyValueSuite):
    real_time = True

    @pytest.fixture
    def store(self, clock: FakeClock, redis_url: str, redis_prefix: str) -> KeyValue:
        return open_keyvalue(f"{redis_url}?prefix={redis_prefix}", clock=clock)
