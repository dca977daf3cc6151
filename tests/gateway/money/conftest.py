"""Money over a store in memory, with a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from stanchion.core.context import Context, Rights
from stanchion.core.storage import Database, KeyValue
from stanchion.core.storage.open import open_database, open_keyvalue
from stanchion.core.storage.schema import Schema
from stanchion.gateway.contract.money import BudgetSpec, PriceSpec
from stanchion.gateway.money.service import MoneyService
from stanchion.gateway.money.tables import metadata
from stanchion.testing.clock import FakeClock

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
SCHEMA = Schema("gateway", metadata)
PRICES = [PriceSpec("local", "big", input="2", output="8"), PriceSpec("local", "small", input="0.2", output="0.8")]


def caller(principal: str = "key:ada", tenant: str = "t1", **more: Any) -> Context:
    return Context(tenant=tenant, principal=principal, rights=Rights(frozenset({"admin"}), frozenset({"*"})), **more)


@dataclass
class Bench:
    """One database, one key-value store, one clock; services are processes over them."""

    database: Database
    keyvalue: KeyValue
    clock: FakeClock
    running: list[MoneyService] = field(default_factory=list)

    async def service(self, *budgets: BudgetSpec, background: bool = True, **changes: Any) -> MoneyService:
        options: dict[str, Any] = {"prices": PRICES, "catalogue": False, **changes}
        service = MoneyService(
            database=self.database, keyvalue=self.keyvalue, clock=self.clock, budgets=budgets, **options
        )
        # Without its background a service does only what it is told, and a failed example fails again.
        await (service.start() if background else service.tidy())
        self.running.append(service)
        return service

    async def end(self, service: MoneyService) -> None:
        self.running.remove(service)
        await service.stop()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    clock = FakeClock(NOON)
    made = Bench(open_database("memory:"), open_keyvalue("memory:", clock=clock), clock)
    await made.database.prepare(SCHEMA)
    yield made
    for service in list(made.running):
        await made.end(service)
    await made.keyvalue.close()
    await made.database.close()


@pytest.fixture
def ctx() -> Context:
    return caller()
