"""Rows pushed into a source: kept once, seen by every view over it, in whatever order they come."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from stanchion.core.errors import InvalidInput
from stanchion.core.values import Json
from stanchion.features import Features, Row
from stanchion.testing import Offline, offline
from stanchion.testing.clock import FakeClock
from tests.features.shop import payments


def payment(clock: FakeClock, number: int, amount: float, *, age: float = 0, merchant: str = "kiosk") -> Row:
    at = clock.now() - timedelta(seconds=age)
    values: dict[str, Json] = {
        "customer": "ann",
        "merchant": merchant,
        "amount": amount,
        "at": at.isoformat(),
        "number": number,
    }
    return Row("ann", values, at)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(datetime.fromisoformat("2026-01-05T12:00:00+00:00"))


@pytest.fixture(params=[True, False], ids=["selected", "plain"])
async def running(request: pytest.FixtureRequest, clock: FakeClock) -> AsyncIterator[Offline]:
    async with offline(payments(select=request.param), clock=clock) as made:
        yield made


async def read(running: Offline, merchant: str = "kiosk") -> dict[str, Any]:
    entity = {"customer": "ann", "merchant": merchant}
    [vector] = await running.door(Features).vectors(running.ctx, "fraud", [entity])
    return dict(vector.values)


async def push(running: Offline, rows: Sequence[Row], view: str = "spending") -> int:
    return await running.door(Features).push(running.ctx, view, rows)


async def test_a_push_fills_every_view_over_the_source(running: Offline, clock: FakeClock) -> None:
    rows = [payment(clock, 1, 2.5, age=7000), payment(clock, 2, 4.25, age=60, merchant="shop"), payment(clock, 3, 1.5)]
    assert await push(running, rows) == 3
    found = await read(running)
    assert found.pop("cents", 150) == 150
    assert found == {
        "amount": 1.5,
        "payments_1h": 2,
        "amount_1h": 5.75,
        "mean_1h": 2.875,
        "largest_1d": 4.25,
        "merchants_1d": 2,
        "takings_1d": 4.0,
    }
    assert (await read(running, "shop"))["takings_1d"] == 4.25


async def test_windows_move_while_nothing_is_pushed(running: Offline, clock: FakeClock) -> None:
    await push(running, [payment(clock, 1, 2.5)])
    clock.advance(3000)
    assert (await read(running))["payments_1h"] == 1
    clock.advance(700)
    found = await read(running)
    assert (found["payments_1h"], found["amount_1h"], found["mean_1h"], found["merchants_1d"]) == (0, 0.0, None, 1)


async def test_a_repeated_push_counts_once_in_every_view(running: Offline, clock: FakeClock) -> None:
    rows = [payment(clock, 1, 2.5, age=10), payment(clock, 2, 1.0, age=5)]
    assert await push(running, rows) == 2
    before = await read(running)
    clock.advance(1)
    assert await push(running, rows) == 0
    assert await read(running) == before


async def test_a_correction_takes_the_place_of_what_it_corrects(running: Offline, clock: FakeClock) -> None:
    first = payment(clock, 1, 2.5, age=10)
    await push(running, [first])
    clock.advance(1)
    assert await push(running, [Row("ann", {**first.values, "amount": 3.5}, first.at)]) == 1
    found = await read(running)
    assert (found["amount_1h"], found["payments_1h"], found["takings_1d"]) == (3.5, 1, 3.5)


async def test_any_order_of_pushes_gives_the_same_values(clock: FakeClock) -> None:
    rows = [payment(clock, n, n / 4, age=97.0 * n, merchant=f"m{n % 3}") for n in range(40)]
    found = []
    for seed in range(3):
        random.Random(seed).shuffle(rows)
        async with offline(payments(), clock=clock) as running:
            for first in range(0, len(rows), 7):
                await push(running, rows[first : first + 7])
            found.append(await read(running, "m1"))
    assert found[0] == found[1] == found[2]
    assert found[0]["payments_1h"] == 38


async def test_it_does_not_matter_through_which_view_a_row_came(running: Offline, clock: FakeClock) -> None:
    row = payment(clock, 1, 2.5)
    await push(running, [row])
    assert await push(running, [Row("kiosk", row.values, row.at)], view="takings") == 0
    assert (await read(running))["payments_1h"] == 1


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"amount": "2"}, "$.rows[0].values.amount"),
        ({"customer": "bob"}, "$.rows[0].values.customer"),
        ({"at": "2026-01-05T11:00:00Z"}, "$.rows[0].values.at"),
        ({"at": None}, "$.rows[0].values.at"),
        ({"more": 1}, "$.rows[0].values.more"),
    ],
)
async def test_a_row_that_is_not_the_sources_is_refused(
    running: Offline, clock: FakeClock, changes: dict[str, Any], path: str
) -> None:
    good, wrong = payment(clock, 2, 2.0), payment(clock, 1, 1.0)
    with pytest.raises(InvalidInput) as caught:
        await push(running, [Row("ann", {**wrong.values, **changes}, wrong.at), good])
    assert [fault.path for fault in caught.value.fields] == [path]
    assert (await read(running))["amount"] is None


async def test_tenants_do_not_share_a_source(running: Offline, clock: FakeClock) -> None:
    await push(running, [payment(clock, 1, 2.5)])
    stranger = running.caller("admin", tenant="other")
    [vector] = await running.door(Features).vectors(stranger, "fraud", [{"customer": "ann", "merchant": "kiosk"}])
    assert vector.status == {"spending": "unknown", "takings": "unknown"}


async def test_a_handle_pushes_typed_rows(clock: FakeClock) -> None:
    from stanchion import System
    from stanchion.features import total
    from tests.features.shop import HOUR, Payment, Takings

    app = System("typed")
    source = app.source("payments", Payment, time="at", event="number")
    app.features(
        "takings",
        Takings,
        entity="merchant",
        ttl=HOUR,
        source=source,
        aggregates={"takings_1d": total("amount", days=1)},
    )
    async with offline(app, clock=clock) as running:
        row = Payment(customer="ann", merchant="kiosk", amount=2.5, at=clock.now(), number=1)
        assert await source.push(running.ctx, row, row) == 1
        [reading] = await running.door(Features).read(running.ctx, "takings", ["kiosk"])
        assert reading.values == {"takings_1d": 2.5}
