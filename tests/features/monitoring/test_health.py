"""How fresh a view is and how often its fields are null, with the reason."""

from __future__ import annotations

from datetime import timedelta

import pytest

from stanchion.core.storage.keyvalue.memory import MemoryKeyValue
from stanchion.features import Row, ViewHealth
from stanchion.features.service import FeatureService
from stanchion.testing.clock import FakeClock
from stanchion.testing.features import ADA, STRANGER
from tests.features.shop import HOUR, shop

ANN, EVE = {"customer": "ann"}, {"customer": "eve"}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def features(clock: FakeClock) -> FeatureService:
    return FeatureService(shop().all(), store=MemoryKeyValue(clock=clock), clock=clock)


async def health(features: FeatureService) -> ViewHealth:
    return next(view for view in await features.health(ADA) if view.view == "profile")


async def test_a_view_that_was_never_written_is_empty(features: FeatureService) -> None:
    found = await health(features)
    assert (found.state, found.newest, found.reads) == ("empty", None, 0)
    assert [(field.name, field.state, field.null_rate) for field in found.fields] == [
        ("age", "unread", None),
        ("city", "unread", None),
        ("joined", "unread", None),
    ]


async def test_a_view_grows_late_and_then_stale(features: FeatureService, clock: FakeClock) -> None:
    at = clock.now()
    await features.push(ADA, "profile", [Row("ann", {"age": 1}, at), Row("bob", {"age": 1}, at - HOUR)])
    found = await health(features)
    assert (found.state, found.newest, found.age_seconds) == ("fresh", at, 0)
    clock.advance(1801)
    found = await health(features)
    assert (found.state, found.reason) == (
        "late",
        "the newest event is 0:30:01 old, past half the time to live of 1:00:00",
    )
    clock.advance(1800)
    assert (await health(features)).state == "stale"


async def test_a_view_whose_keys_are_mostly_absent_is_missing(features: FeatureService, clock: FakeClock) -> None:
    await features.push(ADA, "profile", [Row("ann", {"age": 1}, clock.now())])
    await features.vectors(ADA, "members", [ANN] * 4)
    await features.vectors(ADA, "members", [EVE] * 4)
    found = await health(features)
    assert (found.state, found.reads, found.unknown_rate, found.stale_rate) == ("missing", 8, 0.5, 0.0)
    assert found.reason == "50% of the keys read lately had no present value"


async def test_a_field_that_is_mostly_null_is_told(features: FeatureService, clock: FakeClock) -> None:
    rows = [Row("ann", {"age": 1}, clock.now()), Row("bob", {"age": 1, "city": "Oslo"}, clock.now())]
    await features.push(ADA, "profile", rows)
    await features.vectors(ADA, "members", [ANN, ANN, {"customer": "bob"}])
    fields = {field.name: field for field in (await health(features)).fields}
    assert (fields["age"].state, fields["age"].null_rate) == ("ok", 0)
    assert (fields["city"].state, fields["city"].reason) == ("nulls", "67% of its values are null, above 50%")


async def test_figures_cover_the_last_hour_or_two(features: FeatureService, clock: FakeClock) -> None:
    await features.vectors(ADA, "members", [ANN])
    clock.advance(3599)
    assert (await health(features)).reads == 1
    clock.advance(3600)
    assert (await health(features)).reads == 1
    clock.advance(3600)
    assert (await health(features)).reads == 0


async def test_a_tenants_figures_are_its_own(features: FeatureService, clock: FakeClock) -> None:
    await features.push(STRANGER, "profile", [Row("ann", {"age": 1}, clock.now() - timedelta(seconds=5))])
    await features.vectors(STRANGER, "members", [ANN])
    found = await health(features)
    assert (found.state, found.reads) == ("empty", 0)
