"""Usage and invoices by a tag of the callers' own, and what one request was charged, on either engine."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from stanchion.core.context import Context
from stanchion.core.errors import InvalidInput
from stanchion.core.storage.open import open_database, open_keyvalue
from stanchion.gateway.contract.calls import Usage
from stanchion.gateway.money.documents import invoice_csv
from stanchion.gateway.money.service import MoneyService
from stanchion.testing.clock import FakeClock

from .conftest import NOON, PRICES, SCHEMA, caller

CASES = ({"case": "b"}, {"case": "a", "team": "x"}, {}, {"case": "b"}, {"case": "Z é"}, {"case": ""})


@pytest.fixture(params=["sqlite", "postgres"])
async def service(request: pytest.FixtureRequest) -> AsyncIterator[MoneyService]:
    clock = FakeClock(NOON)
    url = "memory:" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    database, keyvalue = open_database(url), open_keyvalue("memory:", clock=clock)
    await database.prepare(SCHEMA)
    made = MoneyService(database=database, keyvalue=keyvalue, clock=clock, prices=PRICES, catalogue=False)
    await made.start()
    made_clock[made] = clock
    yield made
    await made.stop()
    await database.close()


made_clock: dict[MoneyService, FakeClock] = {}


async def call(service: MoneyService, ctx: Context, tags: Any, *, model: str = "big", outcome: str = "ok") -> int:
    held = await service.reserve(ctx, provider="local", model=model, tokens=20, most=10**9, tags=tags)
    price = service.prices.price("local", model)
    return await service.settle(ctx, held, Usage(10, 5), price=price, outcome=outcome)


async def test_usage_is_told_by_the_values_of_a_tag(service: MoneyService) -> None:
    costs = [await call(service, caller(), tags) for tags in CASES]
    await call(service, caller("key:spy", tenant="t2"), {"case": "b"})
    lines = await service.usage(caller(), by=("tag",), tag="case")
    assert [(line.group, line.requests) for line in lines] == [
        ({"tag": ""}, 2),
        ({"tag": "Z é"}, 1),
        ({"tag": "a"}, 1),
        ({"tag": "b"}, 2),
    ]
    [whole] = await service.usage(caller(), by=())
    assert sum(line.cost for line in lines) == whole.cost == sum(costs)
    made_clock[service].advance(86_400)
    await call(service, caller(), {"case": "b"}, model="none")
    days = await service.usage(caller(), by=("day", "tag", "model"), tag="case")
    assert [line.group["day"] for line in days] == ["2026-03-14"] * 4 + ["2026-03-15"]
    assert (days[-1].group, days[-1].requests, days[-1].unpriced) == (
        {"day": "2026-03-15", "tag": "b", "model": "none"},
        1,
        1,
    )
    ended = await service.usage(caller(), start=NOON.date(), end=NOON.date() + timedelta(1), by=("tag",), tag="case")
    assert sum(line.requests for line in ended) == 6


async def test_an_invoice_by_a_tag_has_the_same_sum(service: MoneyService) -> None:
    for tags in CASES:
        await call(service, caller(), tags)
    plain, told = await service.invoice(caller()), await service.invoice(caller(), tag="case")
    assert (told.cost, told.requests, told.tag) == (plain.cost, plain.requests, "case")
    table = list(csv.DictReader(io.StringIO(invoice_csv(told))))
    assert [row["tag"] for row in table] == ["", "Z é", "a", "b", ""]
    assert table[-1]["key"] == "total"


@pytest.mark.parametrize("tag", ["", 'a"b', "x" * 65, "a\\b", "a=b"])
async def test_a_tag_that_nobody_could_have_given_is_refused(service: MoneyService, tag: str) -> None:
    with pytest.raises(InvalidInput):
        await service.usage(caller(), by=("tag",), tag=tag)


async def test_a_caller_is_told_what_a_request_of_their_own_was_charged_and_nobody_elses(service: MoneyService) -> None:
    mine, theirs = caller(request_id="r1"), caller("key:bob", request_id="r1")
    costs = [await call(service, mine, {}, outcome=outcome) for outcome in ("unavailable", "ok")]
    await call(service, theirs, {})
    spent = await service.spent(mine, "r1")
    assert [(each.cost, each.outcome) for each in spent] == list(zip(costs, ("unavailable", "ok"), strict=True))
    assert await service.spent(caller(tenant="t2"), "r1") == []
    assert await service.spent(mine, "r2") == []
