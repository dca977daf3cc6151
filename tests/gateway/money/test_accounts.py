"""Budgets and teams that change while the system runs, and what was spent as people and programs read it."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from stanchion.core.context import Context, Effect
from stanchion.core.errors import BudgetExceeded, Conflict, InvalidInput, Misconfigured, NotFound
from stanchion.core.storage import Journal
from stanchion.core.storage.open import open_database
from stanchion.gateway.contract.calls import Usage
from stanchion.gateway.contract.money import Accounts, BudgetSpec, Limit, Spend
from stanchion.gateway.money.documents import invoice_csv, rows_as
from stanchion.gateway.money.service import MoneyService
from stanchion.gateway.money.tables import counters

from .conftest import NOON, SCHEMA, Bench, caller

DAY = timedelta(days=1)
ONE = (Limit("day", requests=1),)
USAGE = Usage(100, 50, cached=10)


async def call(service: MoneyService, ctx: Context, model: str = "big", usage: Usage = USAGE, **more: Any) -> int:
    held = await service.reserve(
        ctx, provider="local", model=model, tokens=200, most=10**9, tags=more.pop("tags", {}), **more
    )
    price = service.prices.price("local", model)
    return await service.settle(ctx, held, usage, price=price, outcome="ok")


async def test_a_budget_is_put_replaced_and_deleted_in_versions(bench: Bench, ctx: Context) -> None:
    service = await bench.service()
    first = await service.put_budget(ctx, BudgetSpec("mine", limits=ONE), expected=0)
    await call(service, ctx)
    with pytest.raises(BudgetExceeded):
        await call(service, ctx)
    second = await service.put_budget(ctx, BudgetSpec("mine", limits=(Limit("day", requests=2),)), expected=1)
    await call(service, ctx)
    assert (first.version, second.version, second.changed_by) == (1, 2, "key:ada")
    assert second.levels[0].used == 1, "a change does not forget what was used"
    await service.delete_budget(ctx, "mine", expected=2)
    await call(service, ctx)
    assert await service.budgets(ctx) == []
    assert (await service.put_budget(ctx, BudgetSpec("mine", limits=ONE), expected=0)).version == 4


async def test_another_version_than_the_expected_one_is_not_replaced(bench: Bench, ctx: Context) -> None:
    service = await bench.service()
    await service.put_budget(ctx, BudgetSpec("mine", limits=ONE))
    await service.put_team(ctx, "red", ["key:a"])
    with pytest.raises(Conflict):
        await service.put_budget(ctx, BudgetSpec("mine", limits=ONE), expected=0)
    with pytest.raises(Conflict):
        await service.delete_budget(ctx, "mine", expected=2)
    with pytest.raises(Conflict):
        await service.put_team(ctx, "red", [], expected=0)
    with pytest.raises(NotFound):
        await service.delete_budget(ctx, "nothing")
    with pytest.raises(NotFound):
        await service.budget(ctx, "nothing")
    with pytest.raises(NotFound):
        await service.delete_team(ctx, "nothing")


async def test_a_declared_budget_can_be_replaced_for_a_tenant_and_holds_again_afterwards(
    bench: Bench, ctx: Context
) -> None:
    service = await bench.service(BudgetSpec("all", limits=ONE))
    await call(service, ctx)
    await service.put_budget(ctx, BudgetSpec("all", limits=(Limit("day", requests=5),)))
    await call(service, ctx)
    other = caller(tenant="t2")
    assert (await service.budget(other, "all")).declared
    await service.delete_budget(ctx, "all")
    with pytest.raises(BudgetExceeded):
        await call(service, ctx)
    with pytest.raises(Conflict):
        await service.delete_budget(ctx, "all")


async def test_a_change_reaches_other_processes(bench: Bench, ctx: Context) -> None:
    one, two = await bench.service(), await bench.service()
    await call(two, ctx)
    await one.put_budget(ctx, BudgetSpec("none", limits=(Limit("day", requests=0),)))
    await two.tidy()
    with pytest.raises(BudgetExceeded):
        await call(two, ctx)


async def test_budgets_and_teams_of_another_tenant_are_not_seen(bench: Bench, ctx: Context) -> None:
    service = await bench.service()
    await service.put_budget(ctx, BudgetSpec("mine", limits=ONE))
    await service.put_team(ctx, "red", ["key:ada"])
    other = caller(tenant="t2")
    assert (await service.budgets(other), await service.teams(other)) == ([], [])
    await call(service, other)
    await call(service, other)


async def test_a_key_is_in_one_team_at_most(bench: Bench, ctx: Context) -> None:
    service = await bench.service()
    await service.put_team(ctx, "red", ["key:a", "key:b"])
    with pytest.raises(Conflict, match="red"):
        await service.put_team(ctx, "blue", ["key:b"])
    await service.put_team(ctx, "red", ["key:a"])
    team = await service.put_team(ctx, "blue", ["key:b", "user:c", "key:b"])
    assert team.members == ("key:b", "user:c")
    await service.delete_team(ctx, "red")
    assert [team.name for team in await service.teams(ctx)] == ["blue"]
    await service.put_team(ctx, "green", ["key:a"])


@pytest.mark.parametrize("members", [["ada"], ["key:"], ["key:*"], ["key:a\0"], ["key:\ud800"], ["key:a"] * 1001])
async def test_what_is_no_member_is_refused(bench: Bench, ctx: Context, members: list[str]) -> None:
    service = await bench.service()
    with pytest.raises(InvalidInput) as refused:
        await service.put_team(ctx, "red", members)
    assert refused.value.fields


async def test_changes_at_the_same_moment_all_get_versions_of_their_own(bench: Bench, ctx: Context) -> None:
    service = await bench.service()
    made = await asyncio.gather(*(service.put_budget(ctx, BudgetSpec("mine", limits=ONE)) for _ in range(10)))
    assert sorted(state.version for state in made) == list(range(1, 11))


class Noted(Journal):
    """What an audit log would have written, at the moment when it would."""

    def __init__(self) -> None:
        self.facts: list[dict[str, Any]] = []

    def record(self, connection: Connection, effects: Sequence[Effect]) -> None:
        self.facts += [dict(effect.facts) for effect in effects]

    def committed(self) -> None:
        pass


async def test_the_audit_event_of_a_change_holds_its_name_and_version(bench: Bench) -> None:
    journal = Noted()
    database, given = open_database("memory:", journal=journal), bench.database
    await database.prepare(SCHEMA)
    bench.database = database
    service = await bench.service(background=False)

    def acting() -> Context:
        return caller(effect=Effect("gateway:write_budget", "write", "Budget::*", "t1", "key:ada", "r", "t"))

    await service.put_budget(acting(), BudgetSpec("mine", limits=ONE))
    await service.delete_budget(acting(), "mine")
    await service.put_team(acting(), "red", ["key:a"])
    await service.delete_team(acting(), "red")
    assert [(each["name"], each["version"], each["removed"]) for each in journal.facts] == [
        ("mine", 1, False),
        ("mine", 2, True),
        ("red", 1, False),
        ("red", 2, True),
    ]
    await bench.end(service)
    await database.close()
    bench.database = given


async def test_usage_is_summed_by_what_is_asked_for(bench: Bench, ctx: Context) -> None:
    service = await bench.service()
    await service.put_team(ctx, "red", ["key:ada"])
    big = await call(service, ctx, route="code")
    small = await call(service, caller("key:bob"), model="small")
    bench.clock.advance(86_400)
    await call(service, ctx, usage=Usage(1, 0))
    whole = await service.usage(ctx, start=NOON.date(), end=NOON.date() + DAY, by=[])
    assert [(line.requests, line.cost, line.usage.cached) for line in whole] == [(2, big + small, 20)]
    teams = await service.usage(ctx, by=["team", "route"])
    assert [(line.group, line.requests) for line in teams] == [
        ({"team": "", "route": ""}, 1),
        ({"team": "red", "route": ""}, 1),
        ({"team": "red", "route": "code"}, 1),
    ]
    days = await service.usage(ctx)
    assert [line.group["day"] for line in days] == ["2026-03-14", "2026-03-15"]
    assert await service.usage(ctx, start=date(2020, 1, 1), end=date(2020, 1, 2), by=[]) == []


@pytest.mark.parametrize(
    "given",
    [
        {"start": date(2026, 3, 2), "end": date(2026, 3, 2)},
        {"start": date(2026, 3, 2), "end": date(2026, 3, 1)},
        {"start": date(2020, 3, 2), "end": date(2026, 3, 1)},
        {"by": ["planet"]},
        {"by": ["day", "day"]},
    ],
)
async def test_usage_that_cannot_be_asked_for_is_refused(bench: Bench, ctx: Context, given: Any) -> None:
    service = await bench.service()
    with pytest.raises(InvalidInput) as refused:
        await service.usage(ctx, **given)
    assert refused.value.fields


async def test_an_invoice_is_the_sum_of_its_lines_and_of_the_invoices_of_all_keys(bench: Bench, ctx: Context) -> None:
    service = await bench.service()
    costs = [await call(service, caller(f"key:{key}"), model) for key in "abc" for model in ("big", "small", "big")]
    whole = await service.invoice(ctx)
    each = [await service.invoice(ctx, key=f"key:{key}") for key in "abc"]
    assert whole.cost == sum(costs) == sum(line.cost for line in whole.lines) == sum(one.cost for one in each)
    assert whole.requests == 9 and len(whole.lines) == 6
    table = list(csv.reader(io.StringIO(invoice_csv(whole))))
    assert table[0][0] == "key" and table[-1][0] == "total" and len(table) == 8
    assert float(table[-1][-1]) == pytest.approx(sum(costs) / 10**12)
    assert invoice_csv(await service.invoice(ctx, key="key:nobody")).endswith(
        "total,,,,0,0,0,0,0,0,0,0.000000000000\r\n"
    )


async def test_a_sum_beyond_what_an_engine_adds_up_is_exact(bench: Bench, ctx: Context) -> None:
    service = await bench.service()
    for i in range(120):
        held = await service.reserve(ctx, provider="a", model=f"m{i % 3}", tokens=0, most=0, tags={})
        await service.settle(ctx, held, Usage(1, 0), price=Costly(10**17 - i), outcome="ok")
    assert (await service.invoice(ctx)).cost == 120 * 10**17 - sum(range(120)) > 2**63


@pytest.mark.parametrize("usage", [Usage(-5, -5, -5, -5, -5), Usage(10**30, 10**30, 10**30, 10**30, 10**30)])
async def test_an_upstream_that_counts_nonsense_breaks_nothing(bench: Bench, ctx: Context, usage: Usage) -> None:
    service = await bench.service(BudgetSpec("all", limits=(Limit("day", cost="9000000", tokens=10**15),)))
    strange = await call(service, ctx, usage=usage)
    honest = await call(service, ctx)
    await service.tidy()
    assert 0 <= strange <= 10**17
    assert (await service.invoice(ctx)).cost == strange + honest == (await service.budget(ctx, "all")).levels[0].used


class Costly:
    """A price for a call, whatever it uses."""

    version = "costly"

    def __init__(self, cost: int) -> None:
        self._cost = cost

    def cost(self, usage: Usage) -> int:
        return self._cost


async def exported(service: MoneyService, ctx: Context, **given: Any) -> list[Spend]:
    return [row async for page in service.export_usage(ctx, **given) for row in page.rows]


async def test_rows_are_exported_in_pages_without_gap_or_overlap(bench: Bench, ctx: Context) -> None:
    service = await bench.service()
    for i in range(25):
        await call(service, caller(request_id=f"r{i:02}"), tags={"project": "x"})
        bench.clock.advance(1)
    await call(service, caller(tenant="t2"))
    pages = [page async for page in service.export_usage(ctx, rows=10)]
    assert [len(page.rows) for page in pages] == [10, 10, 5]
    rows = await exported(service, ctx)
    assert [row.request_id for row in rows] == [f"r{i:02}" for i in range(25)]
    assert rows[0].tags == {"project": "x"} and rows[0].usage == Usage(100, 50, cached=10)
    assert await exported(service, ctx, after=pages[0].after) == rows[10:]
    assert await exported(service, ctx, start=NOON, end=NOON + timedelta(seconds=3)) == rows[:3]


@pytest.mark.parametrize(
    "given",
    [{"rows": 0}, {"after": "x"}, {"start": NOON, "end": NOON}, {"start": datetime(2026, 3, 1), "end": NOON}],
)
async def test_an_export_that_cannot_be_is_refused(bench: Bench, ctx: Context, given: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        await exported(await bench.service(), ctx, **given)
    assert refused.value.fields


async def test_a_table_for_other_programs_holds_every_row_and_no_formula(bench: Bench, ctx: Context) -> None:
    service = await bench.service()
    await call(service, ctx, route="=1+1", tags={"n": "\0\ud800x" + "y" * 1000})
    text = b"".join([piece async for piece in rows_as(service.export_usage(ctx), "csv")]).decode()
    [row] = csv.DictReader(io.StringIO(text))
    assert row["route"] == "'=1+1"
    assert json.loads(row["tags"]) == {"n": "?x" + "y" * 254}
    [line] = [piece async for piece in rows_as(service.export_usage(ctx), "jsonl")]
    assert json.loads(line)["route"] == "=1+1"


async def test_rows_and_sums_go_when_their_time_is_over(bench: Bench, ctx: Context) -> None:
    service = await bench.service(days=10, sum_days=100)
    await call(service, ctx)
    assert len(await exported(service, ctx)) == 1
    bench.clock.advance(20 * 86_400)
    await bench.end(service)
    again = await bench.service(days=10, sum_days=100, background=False)
    await again._retention.once()
    assert await exported(again, ctx, start=NOON - DAY, end=NOON + DAY) == []
    assert len(await again.usage(ctx, start=NOON.date(), end=NOON.date() + DAY)) == 1


async def test_counters_go_when_no_budget_looks_at_them(bench: Bench, ctx: Context) -> None:
    service = await bench.service(BudgetSpec("all", limits=(Limit("minute", requests=5), Limit("month", requests=5))))
    await call(service, ctx)
    bench.clock.advance(7_200)
    await service._retention.once()
    found = await bench.database.read(lambda link: link.execute(counters.select()).all())
    assert {row.window for row in found} == {"month"}


async def test_two_declared_budgets_of_one_name_are_refused(bench: Bench) -> None:
    with pytest.raises(Misconfigured):
        await bench.service(BudgetSpec("a", limits=ONE), BudgetSpec("a", "key:*", limits=ONE))


async def test_a_budget_declared_for_a_tenant_holds_for_it_alone(bench: Bench, ctx: Context) -> None:
    service = await bench.service(BudgetSpec("a", limits=(Limit("day", requests=0),), tenant="t2"))
    await call(service, ctx)
    with pytest.raises(BudgetExceeded):
        await call(service, caller(tenant="t2"))


async def test_a_row_is_of_the_moment_of_settling_and_keeps_its_team(bench: Bench, ctx: Context) -> None:
    service = await bench.service()
    await service.put_team(ctx, "red", ["key:ada"])
    await call(service, ctx)
    await service.delete_team(ctx, "red")
    [row] = await exported(service, ctx)
    assert (row.team, row.at) == ("red", datetime(2026, 3, 14, 12, tzinfo=UTC))


async def test_one_request_may_make_several_calls_and_each_is_charged(bench: Bench, ctx: Context) -> None:
    one, two = await bench.service(), await bench.service()
    costs = [await call(service, ctx) for service in (one, two, one, one)]
    await one.usage(ctx)
    assert (await two.invoice(ctx)).cost == sum(costs) and len(await exported(one, ctx)) == 4


def test_every_method_of_the_accounts_has_an_action() -> None:
    from stanchion.core.contract import methods

    verbs = ("read_budgets", "write_budget", "read_teams", "write_team", "read_usage", "export_usage", "complete")
    assert {method.action.name for method in methods(Accounts)} == {f"gateway:{verb}" for verb in verbs}
