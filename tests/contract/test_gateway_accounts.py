"""The gateway's accounts as another process sees them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from stanchion.core.context import Context, Rights
from stanchion.core.storage.open import open_database, open_keyvalue
from stanchion.core.storage.schema import Schema
from stanchion.gateway.contract.calls import Usage
from stanchion.gateway.contract.money import Accounts, BudgetSpec, Limit, PriceSpec
from stanchion.gateway.money.service import MoneyService
from stanchion.gateway.money.tables import metadata
from stanchion.testing.clock import FakeClock


async def test_the_accounts_answer_another_process_as_they_do_their_own(far: Any) -> None:
    clock = FakeClock(datetime(2026, 3, 14, 12, tzinfo=UTC))
    database = open_database("memory:")
    await database.prepare(Schema("gateway", metadata))
    service = MoneyService(
        database=database,
        keyvalue=open_keyvalue("memory:", clock=clock),
        clock=clock,
        prices=[PriceSpec("a", "b", input="1")],
        catalogue=False,
    )
    await service.start()
    ctx = Context("t1", "key:ada", rights=Rights(frozenset({"admin"})))
    async with far("gateway", Accounts, service) as remote:
        await remote.put_budget(ctx, BudgetSpec("mine", limits=(Limit("day", cost="1.5"),), concurrency=3))
        await remote.put_team(ctx, "red", ["key:ada"])
        held = await service.reserve(ctx, provider="a", model="b", tokens=9, most=10**9, tags={"project": "x"})
        await service.settle(ctx, held, Usage(5, 4), price=service.prices.price("a", "b"), outcome="ok")
        assert await remote.budget(ctx, "mine") == await service.budget(ctx, "mine")
        assert await remote.budgets(ctx) == await service.budgets(ctx)
        assert await remote.teams(ctx) == await service.teams(ctx)
        assert await remote.invoice(ctx) == await service.invoice(ctx)
        assert await remote.invoice(ctx, tag="project") == await service.invoice(ctx, tag="project")
        assert [each.cost for each in await remote.spent(ctx, ctx.request_id)] == [9_000_000]
        assert await remote.usage(ctx, by=["team", "key"]) == await service.usage(ctx, by=["team", "key"])
        pages = [page async for page in service.export_usage(ctx)]
        assert [page async for page in remote.export_usage(ctx)] == pages and pages[0].rows[0].cost == 9_000_000
        await remote.delete_team(ctx, "red")
        await remote.delete_budget(ctx, "mine")
        assert await remote.budgets(ctx) == []
    await service.stop()
    await database.close()
