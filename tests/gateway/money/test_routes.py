"""Budgets, teams, usage and invoices over HTTP."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import Response

from stanchion.core.context import Context
from stanchion.core.errors import StanchionError
from stanchion.core.http.routes import CONTEXT, json_response
from stanchion.gateway.contract.calls import Usage
from stanchion.gateway.contract.money import BudgetSpec, Limit
from stanchion.gateway.money.routes import add_accounts
from stanchion.gateway.money.service import MoneyService

from .conftest import Bench, caller


async def problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, StanchionError)
    return json_response(error.problem(), error.status)


@pytest.fixture
async def service(bench: Bench) -> MoneyService:
    return await bench.service(BudgetSpec("all", limits=(Limit("day", cost="1"),)))


@pytest.fixture
async def client(service: MoneyService, ctx: Context) -> AsyncIterator[httpx2.AsyncClient]:
    api = APIRouter(prefix="/v1/gateway")
    add_accounts(api, service)
    app = FastAPI()
    app.add_exception_handler(StanchionError, problem)
    app.include_router(api)

    async def front(scope: Any, receive: Any, send: Any) -> None:
        scope[CONTEXT] = ctx
        await app(scope, receive, send)

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=front), base_url="http://test/v1/gateway") as made:
        yield made


async def call(service: MoneyService, ctx: Context, calls: int = 1) -> None:
    for _ in range(calls):
        held = await service.reserve(ctx, provider="local", model="big", tokens=9, most=10**9, tags={"project": "x"})
        await service.settle(ctx, held, Usage(5, 4), price=service.prices.price("local", "big"), outcome="ok")


async def test_a_budget_is_put_read_and_deleted(client: Any, service: MoneyService, ctx: Context) -> None:
    body = {"subject": "key:*", "limits": [{"window": "day", "cost": "0.50", "requests": 9}], "concurrency": 4}
    made = await client.put("/budgets/each", json=body)
    assert (made.status_code, made.json()["version"]) == (200, 1)
    await call(service, ctx)
    shown = (await client.get("/budgets/each")).json()
    assert shown["levels"][0] == {
        "subject": "key:ada",
        "measure": "cost",
        "window": "day",
        "limit": "0.500000000000",
        "used": "0.000042000000",
        "reserved": "0.000000000000",
        "resets_at": "2026-03-15T00:00:00Z",
    }
    assert [level["used"] for level in shown["levels"][1:]] == [1, 0]
    assert [each["name"] for each in (await client.get("/budgets")).json()["data"]] == ["all", "each"]
    assert (await client.put("/budgets/each?expected=0", json=body)).status_code == 409
    assert (await client.delete("/budgets/each?expected=1")).status_code == 204
    assert (await client.get("/budgets/each")).status_code == 404
    assert (await client.delete("/budgets/all")).status_code == 409


@pytest.mark.parametrize(
    "body",
    [{}, {"limits": [{"window": "week", "cost": "1"}]}, {"limits": [{"window": "day", "cost": "x"}]}, {"other": 1}],
)
async def test_a_budget_that_cannot_be_is_answered_422(client: Any, body: Any) -> None:
    assert (await client.put("/budgets/x", json=body)).status_code == 422


async def test_a_team_is_put_listed_and_deleted(client: Any) -> None:
    assert (await client.put("/teams/red", json={"members": ["key:ada"]})).json()["members"] == ["key:ada"]
    assert [team["name"] for team in (await client.get("/teams")).json()["data"]] == ["red"]
    assert (await client.put("/teams/blue", json={"members": ["key:ada"]})).status_code == 409
    assert (await client.delete("/teams/red")).status_code == 204
    assert (await client.delete("/teams/red")).status_code == 404


async def test_usage_and_invoices_tell_the_same_sum(client: Any, service: MoneyService, ctx: Context) -> None:
    await call(service, ctx, 3)
    await call(service, caller("key:bob"), 2)
    [day] = (await client.get("/usage")).json()["data"]
    assert (day["group"], day["requests"], day["cost_usd"]) == ({"day": "2026-03-14"}, 5, "0.000210000000")
    keys = (await client.get("/usage?by=key&by=model&start=2026-03-14&end=2026-03-15")).json()["data"]
    assert [line["group"] for line in keys] == [{"key": k, "model": "big"} for k in ("key:ada", "key:bob")]
    whole = (await client.get("/invoices")).json()
    assert whole["cost_usd"] == "0.000210000000" and len(whole["lines"]) == 2
    assert (await client.get("/invoices", params={"key": "key:bob"})).json()["requests"] == 2
    table = await client.get("/invoices?format=csv")
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    assert list(csv.reader(io.StringIO(table.text)))[-1][-1] == "0.000210000000"
    assert (await client.get("/usage?by=planet")).status_code == 422
    assert (await client.get("/usage?start=2026-03-14&end=2026-03-14")).status_code == 422


async def test_rows_come_in_pages_and_as_a_stream(client: Any, service: MoneyService, ctx: Context) -> None:
    await call(service, ctx, 5)
    seen, after = [], ""
    while True:
        page = (await client.get("/usage/rows", params={"limit": 2, "after": after})).json()
        seen += page["data"]
        after = page["after"]
        if not after:
            break
    assert len({row["id"] for row in seen}) == 5
    lines = (await client.get("/usage/export")).text.splitlines()
    assert [json.loads(line) for line in lines] == seen
    table = list(csv.DictReader(io.StringIO((await client.get("/usage/export?format=csv")).text)))
    assert [row["id"] for row in table] == [row["id"] for row in seen]
    assert (await client.get("/usage/export?after=x")).status_code == 422
    assert (await client.get("/usage/rows?limit=0")).status_code == 422
    assert (await client.get("/usage/export", params={"start": "2027-01-01T00:00:00Z"})).text == ""
