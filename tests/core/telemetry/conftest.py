from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stanchion.core.clock import Clock
from stanchion.core.storage import Database
from stanchion.core.storage.open import open_database
from stanchion.core.telemetry.contract import LedgerRow
from stanchion.core.telemetry.tables import TELEMETRY_SCHEMA


class HandClock(Clock):
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.at = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
        self.seconds = 1_000.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.seconds

    def forward(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        self.seconds += seconds


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """A new SQLite file; with `indirect` parameters also a new PostgreSQL database, which takes seconds to make."""
    engine = getattr(request, "param", "sqlite")
    url = f"sqlite://{tmp_path}/t.db" if engine == "sqlite" else request.getfixturevalue("postgres_url")
    opened = open_database(url, durable=False)
    await opened.prepare(TELEMETRY_SCHEMA)
    yield opened
    await opened.close()


@pytest.fixture
def row(clock: HandClock) -> Callable[..., LedgerRow]:
    numbers = iter(range(10**9))

    def make(**given: Any) -> LedgerRow:
        number = next(numbers)
        plain = LedgerRow(
            at=clock.now() + timedelta(microseconds=number),
            request_id=f"{number:024x}",
            trace_id=f"{number:032x}",
            tenant="acme",
            principal="key:1",
            route="POST /v1/predictions",
            status=200,
            latency_ms=3.0,
        )
        return replace(plain, **given)

    return make
