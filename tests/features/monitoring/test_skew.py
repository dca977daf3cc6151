"""What serving used and what the offline join gives: the same, or told feature by feature."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from stanchion.core.errors import InvalidInput, NotFound
from stanchion.core.values import Json
from stanchion.features import Features, Logged, Row
from stanchion.testing import Offline, offline
from stanchion.testing.clock import FakeClock
from tests.features.shop import payments, shop


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(datetime.fromisoformat("2026-01-05T12:00:00+00:00"))


@pytest.fixture
async def running(clock: FakeClock) -> AsyncIterator[Offline]:
    async with offline(payments(), clock=clock) as made:
        yield made


async def served(
    running: Offline,
    clock: FakeClock,
    service: str,
    entities: Sequence[Mapping[str, str]],
    request: Sequence[Mapping[str, Json]] = (),
) -> list[Logged]:
    """Vectors as a prediction reads and logs them."""
    features = running.door(Features)
    vectors = await features.vectors(running.ctx, service, entities, request=request)
    made = [
        Logged(f"r{clock.monotonic()}", entity, request[i] if request else {}, vector.values, clock.now())
        for i, (entity, vector) in enumerate(zip(entities, vectors, strict=True))
    ]
    await features.log(running.ctx, service, made)
    return made


def payment(clock: FakeClock, number: int, customer: str, amount: float, age: float) -> Row:
    at = clock.now() - timedelta(seconds=age)
    values: dict[str, Json] = {
        "customer": customer,
        "merchant": "kiosk",
        "amount": amount,
        "at": at.isoformat(),
        "number": number,
    }
    return Row(customer, values, at)


async def test_late_rows_and_corrections_leave_no_skew(running: Offline, clock: FakeClock) -> None:
    chance = random.Random(1)
    features = running.door(Features)
    entities = [{"customer": name, "merchant": "kiosk"} for name in ("ann", "bob", "eve")]
    for number in range(60):
        clock.advance(0.25)  # what becomes known in the very microsecond of a read counts for it offline
        late = chance.choice([0, 0, 0, 5, 900, 5000])
        row = payment(clock, number % 50, chance.choice(["ann", "bob"]), chance.randrange(1, 40) / 4, late)
        await features.push(running.ctx, "spending", [row])
        clock.advance(chance.choice([0.5, 30, 600]))
        await served(running, clock, "fraud", entities)
    report = await features.skew(running.ctx, "fraud")
    assert [(field.name, field.examples) for field in report.fields if field.different] == []
    assert (report.compared, report.different, report.other) == (180, 0, 0)
    assert all(field.compared == 180 and field.different == 0 for field in report.fields)


async def test_a_value_that_serving_had_wrong_is_told_with_an_example(running: Offline, clock: FakeClock) -> None:
    features = running.door(Features)
    await features.push(running.ctx, "spending", [payment(clock, 1, "ann", 2.5, 0)])
    clock.advance(1)
    [good] = await served(running, clock, "fraud", [{"customer": "ann", "merchant": "kiosk"}])
    wrong = replace(good, request_id="wrong", values={**good.values, "payments_1h": 7})
    await features.log(running.ctx, "fraud", [wrong])
    report = await features.skew(running.ctx, "fraud")
    assert (report.compared, report.different) == (2, 1)
    [field] = [field for field in report.fields if field.different]
    assert (field.name, field.compared, field.different) == ("payments_1h", 2, 1)
    [example] = field.examples
    assert (example.request_id, example.served, example.joined, example.read_at) == ("wrong", 7, 1, clock.now())


async def test_transforms_with_fields_of_the_request_are_compared_too(clock: FakeClock) -> None:
    async with offline(shop(), clock=clock) as running:
        features = running.door(Features)
        joined: dict[str, Json] = {"age": 41, "city": "Oslo", "joined": "2025-12-01T00:00:00Z"}
        await features.push(running.ctx, "profile", [Row("ann", joined, clock.now())])
        await features.push(running.ctx, "place", [Row("kiosk", {"merchant": "kiosk", "risk": 0.5}, clock.now())])
        clock.advance(1)
        entities = [{"customer": "ann", "merchant": "kiosk"}, {"customer": "eve", "merchant": "kiosk"}]
        order: dict[str, Json] = {"amount": 10, "placed": "2026-01-01T00:00:00Z"}
        made = await served(running, clock, "fraud", entities, [order, {"amount": 3}])
        assert made[0].values["days_a_member"] == 31
        report = await features.skew(running.ctx, "fraud")
        assert (report.compared, report.different) == (2, 0)


async def test_nothing_logged_is_nothing_compared(running: Offline) -> None:
    report = await running.door(Features).skew(running.ctx, "fraud")
    assert (report.compared, report.first, report.last) == (0, None, None)


@pytest.mark.parametrize("limit", [0, 10_001])
async def test_a_limit_has_its_limits(running: Offline, limit: Any) -> None:
    with pytest.raises(InvalidInput):
        await running.door(Features).skew(running.ctx, "fraud", limit=limit)


async def test_an_undeclared_service_is_not_found(running: Offline) -> None:
    for call in (running.door(Features).skew, running.door(Features).lineage):
        with pytest.raises(NotFound):
            await call(running.ctx, "other")
