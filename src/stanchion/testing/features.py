"""The contract of Features as tests: subclass `FeaturesSuite` and give it a door and a way to let time pass.

The door must hold the declarations of `SPECS` and no value of the tenants `t1` and `t2`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from stanchion.core.context import Context, Rights
from stanchion.core.errors import InvalidInput, NotFound
from stanchion.core.values import Json
from stanchion.features import (
    Features,
    Logged,
    OnDemandSpec,
    Row,
    ServiceSpec,
    SourceSpec,
    Vector,
    ViewSpec,
    Written,
    count,
    total,
)

from .clock import FakeClock


class Customer(BaseModel):
    """The row type of the view `customers`."""

    tenure: int = Field(ge=0)
    charges: float
    plan: str | None = None
    since: date | None = None


class Shop(BaseModel):
    """The row type of the view `shops`, which holds its own key."""

    shop: str
    rank: int


VIEWS: Sequence[ViewSpec] = (
    ViewSpec("shops", Shop, "shop", timedelta(days=365)),
    ViewSpec("customers", Customer, "customer", timedelta(hours=1)),
)


class Payment(BaseModel):
    """The row type of the source `payments`."""

    payer: str
    amount: float
    at: datetime


class Paid(BaseModel):
    """The row type of the view `paid`, two windows over the source."""

    amount: float
    payments: int
    total: float


class Ask(BaseModel):
    """What a request adds."""

    factor: float = Field(gt=0)


class Worth(BaseModel):
    """What the transform `worth` gives."""

    worth: float


def _worth(inputs: Mapping[str, Any]) -> Worth:
    return Worth(worth=inputs["tenure"] * inputs["factor"])


_HOUR = timedelta(hours=1)
_PAYMENTS = SourceSpec("payments", Payment, "at")
SPECS: Sequence[object] = (
    *VIEWS,
    _PAYMENTS,
    ViewSpec(
        "paid",
        Paid,
        "payer",
        timedelta(days=1),
        _PAYMENTS,
        aggregates={"payments": count(hours=1), "total": total("amount", hours=1)},
    ),
    OnDemandSpec("worth", ("customers",), Ask, Worth, _worth),
    ServiceSpec("whole", ("customers", "shops"), ("worth",)),
    ServiceSpec("payers", ("paid",)),
)
_RIGHTS = Rights(frozenset({"admin"}), frozenset({"*"}))
ADA = Context("t1", "ada", _RIGHTS)
STRANGER = Context("t2", "eve", _RIGHTS)
# One test for many subclasses; every example takes keys of its own.
_SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors]


class FeaturesSuite:
    """Override the async fixture `features`; build the door with the fixture `clock`."""

    pytestmark = pytest.mark.asyncio

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock(datetime.now(UTC))

    @pytest.fixture
    def features(self, clock: FakeClock) -> Features:
        raise NotImplementedError("override the fixture `features`")

    @staticmethod
    def row(clock: FakeClock, key: str, tenure: int, *, age: float = 0) -> Row:
        """A customer's row, `age` seconds old."""
        return Row(key, {"tenure": tenure, "charges": 89.99}, clock.now() - timedelta(seconds=age))

    async def tenure(self, features: Features, key: str) -> object:
        """What the view holds of a customer's tenure, or the status if it gives no values."""
        [reading] = await features.read(ADA, "customers", [key])
        return reading.values["tenure"] if reading.status == "present" else reading.status

    async def test_pushed_values_are_read_in_the_order_of_the_keys(self, features: Features, clock: FakeClock) -> None:
        assert await features.push(ADA, "customers", [self.row(clock, "a", 1), self.row(clock, "b", 2)]) == 2
        found = await features.read(ADA, "customers", ["b", "none", "a", "b"])
        assert [(r.key, r.status) for r in found] == [
            ("b", "present"),
            ("none", "unknown"),
            ("a", "present"),
            ("b", "present"),
        ]
        assert found[0].values == {"tenure": 2, "charges": 89.99, "plan": None, "since": None}
        assert (found[0].at, found[1].at) == (clock.now(), None)

    async def test_dates_are_text_and_whole_numbers_may_stand_for_fractions(
        self, features: Features, clock: FakeClock
    ) -> None:
        values: dict[str, Json] = {"tenure": 1, "charges": 90, "since": "2024-02-29"}
        await features.push(ADA, "customers", [Row("a", values, clock.now())])
        [reading] = await features.read(ADA, "customers", ["a"])
        assert (reading.values["since"], reading.values["charges"]) == ("2024-02-29", 90.0)

    async def test_an_older_or_equal_event_time_never_wins(self, features: Features, clock: FakeClock) -> None:
        await features.push(ADA, "customers", [self.row(clock, "a", 1, age=10)])
        assert await features.push(ADA, "customers", [self.row(clock, "a", 2, age=11)]) == 0
        assert await features.push(ADA, "customers", [self.row(clock, "a", 3, age=10)]) == 0
        assert await self.tenure(features, "a") == 1
        assert await features.push(ADA, "customers", [self.row(clock, "a", 4, age=9)]) == 1
        assert await self.tenure(features, "a") == 4

    async def test_the_newest_of_one_push_wins_and_counts_once(self, features: Features, clock: FakeClock) -> None:
        rows = [self.row(clock, "a", tenure, age=age) for tenure, age in ((1, 5), (2, 1), (3, 9))]
        assert await features.push(ADA, "customers", rows) == 1
        assert await self.tenure(features, "a") == 2

    async def test_event_times_are_moments_whatever_their_offset(self, features: Features, clock: FakeClock) -> None:
        east = clock.now().astimezone(timezone(timedelta(hours=9)))
        await features.push(ADA, "customers", [Row("a", {"tenure": 1, "charges": 1.0}, east)])
        assert await features.push(ADA, "customers", [self.row(clock, "a", 2, age=1)]) == 0
        [reading] = await features.read(ADA, "customers", ["a"])
        assert reading.at == clock.now()

    async def test_values_past_their_time_are_withheld(self, features: Features, clock: FakeClock) -> None:
        at = clock.now()
        await features.push(ADA, "customers", [self.row(clock, "a", 1)])
        clock.advance(3600)
        assert await self.tenure(features, "a") == 1
        clock.advance(1)
        [reading] = await features.read(ADA, "customers", ["a"])
        assert (reading.status, reading.values, reading.at) == ("stale", {}, at)
        await features.push(ADA, "customers", [self.row(clock, "a", 2)])
        assert await self.tenure(features, "a") == 2

    async def test_age_counts_from_the_event_and_not_from_the_push(self, features: Features, clock: FakeClock) -> None:
        await features.push(ADA, "customers", [self.row(clock, "a", 1, age=3000), self.row(clock, "b", 1, age=4000)])
        assert await self.tenure(features, "a") == 1
        assert await self.tenure(features, "b") == "stale"
        clock.advance(601)
        assert await self.tenure(features, "a") == "stale"

    async def test_one_bad_row_refuses_the_whole_push(self, features: Features, clock: FakeClock) -> None:
        wrong = [
            self.row(clock, "a", 1),
            Row("b", {"tenure": -1, "charges": "1.0", "extra": 1}, clock.now()),
            Row("c", {"tenure": 1}, clock.now()),
            Row("", {"tenure": 1, "charges": 1.0}, clock.now()),
            Row("d", {"tenure": 1, "charges": 1.0}, clock.now() + timedelta(hours=1)),
            Row("e", {"tenure": 1, "charges": float("nan")}, clock.now()),
        ]
        with pytest.raises(InvalidInput) as caught:
            await features.push(ADA, "customers", wrong)
        assert {fault.path for fault in caught.value.fields} == {
            "$.rows[1].values.tenure",
            "$.rows[1].values.charges",
            "$.rows[1].values.extra",
            "$.rows[2].values.charges",
            "$.rows[3].key",
            "$.rows[4].at",
            "$.rows[5].values",
        }
        assert await self.tenure(features, "a") == "unknown"

    async def test_a_number_of_more_than_64_bits_is_refused(self, features: Features, clock: FakeClock) -> None:
        with pytest.raises(InvalidInput):
            await features.push(ADA, "customers", [self.row(clock, "a", 2**70)])

    async def test_a_row_that_holds_its_key_must_hold_the_right_one(self, features: Features, clock: FakeClock) -> None:
        await features.push(ADA, "shops", [Row("s1", {"shop": "s1", "rank": 1}, clock.now())])
        with pytest.raises(InvalidInput) as caught:
            await features.push(ADA, "shops", [Row("s1", {"shop": "s2", "rank": 1}, clock.now())])
        assert caught.value.fields[0].path == "$.rows[0].values.shop"

    async def test_views_do_not_share_values(self, features: Features, clock: FakeClock) -> None:
        await features.push(ADA, "shops", [Row("a", {"shop": "a", "rank": 1}, clock.now())])
        assert await self.tenure(features, "a") == "unknown"

    async def test_tenants_do_not_share_values(self, features: Features, clock: FakeClock) -> None:
        await features.push(STRANGER, "customers", [self.row(clock, "a", 1)])
        assert await self.tenure(features, "a") == "unknown"
        await features.push(ADA, "customers", [self.row(clock, "a", 2, age=60)])
        [reading] = await features.read(STRANGER, "customers", ["a"])
        assert reading.values["tenure"] == 1

    async def test_an_undeclared_view_is_not_found(self, features: Features, clock: FakeClock) -> None:
        with pytest.raises(NotFound):
            await features.read(ADA, "other", ["a"])
        with pytest.raises(NotFound):
            await features.push(ADA, "other", [self.row(clock, "a", 1)])

    async def test_too_few_and_too_many_are_refused(self, features: Features, clock: FakeClock) -> None:
        for keys in ([], ["k"] * 1001, [""], ["k" * 257], ["\ud800"]):
            with pytest.raises(InvalidInput):
                await features.read(ADA, "customers", keys)
        for rows in ([], [self.row(clock, "a", 1)] * 10_001):
            with pytest.raises(InvalidInput):
                await features.push(ADA, "customers", rows)

    async def test_more_rows_than_one_read_holds_are_stored(self, features: Features, clock: FakeClock) -> None:
        rows = [self.row(clock, f"k{number}", number) for number in range(1500)]
        assert await features.push(ADA, "customers", rows) == 1500
        assert await self.tenure(features, "k1499") == 1499

    async def test_the_catalogue_names_views_and_their_fields(self, features: Features) -> None:
        customers, paid, shops = await features.views(ADA)
        assert (paid.name, paid.source, customers.source) == ("paid", "payments", None)
        assert (customers.name, customers.entity, customers.ttl_seconds) == ("customers", "customer", 3600.0)
        assert customers.fields == {
            "tenure": "integer",
            "charges": "number",
            "plan": "string|null",
            "since": "string|null",
        }
        assert (shops.name, shops.fields) == ("shops", {"shop": "string", "rank": "integer"})

    async def test_of_pushes_at_the_same_time_the_newest_event_wins(self, features: Features, clock: FakeClock) -> None:
        ages = [5, 3, 8, 1, 9, 2, 7, 4, 6, 0]
        pushes = [features.push(ADA, "customers", [self.row(clock, "a", age, age=age)]) for age in ages]
        assert sum(await asyncio.gather(*pushes)) >= 1
        assert await self.tenure(features, "a") == 0

    @settings(max_examples=25, deadline=None, suppress_health_check=_SHARED)
    @given(st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50)), min_size=1, max_size=6), max_size=6))
    async def test_any_order_of_pushes_leaves_the_newest(
        self, features: Features, clock: FakeClock, pushes: list[list[tuple[int, int]]]
    ) -> None:
        clock.advance(100)
        place = str(clock.monotonic())
        newest: dict[int, int] = {}
        for push in pushes:
            before = dict(newest)
            for key, age in push:
                newest[key] = min(age, newest.get(key, age))
            rows = [self.row(clock, f"{place}-{key}", age, age=age) for key, age in push]
            changed = sum(1 for key in newest if before.get(key) != newest[key])
            assert await features.push(ADA, "customers", rows) == changed
        for key, age in newest.items():
            assert await self.tenure(features, f"{place}-{key}") == age

    async def vector(self, features: Features, customer: str, shop: str, factor: float = 2) -> Vector:
        """One vector of the service `whole`."""
        [found] = await features.vectors(
            ADA, "whole", [{"customer": customer, "shop": shop}], request=[{"factor": factor}]
        )
        return found

    async def test_a_vector_joins_views_of_several_entities_and_a_transform(
        self, features: Features, clock: FakeClock
    ) -> None:
        await features.push(ADA, "customers", [self.row(clock, "a", 7, age=60)])
        await features.push(ADA, "shops", [Row("s", {"shop": "s", "rank": 3}, clock.now())])
        found = await self.vector(features, "a", "s")
        assert found.values == {
            "tenure": 7, "charges": 89.99, "plan": None, "since": None, "rank": 3, "worth": 14.0
        }  # fmt: skip
        assert found.status == {"customers": "present", "shops": "present"}
        assert found.at == {"customers": clock.now() - timedelta(seconds=60), "shops": clock.now()}

    async def test_vectors_come_in_the_order_of_the_entities(self, features: Features, clock: FakeClock) -> None:
        await features.push(ADA, "customers", [self.row(clock, f"k{number}", number) for number in range(100)])
        entities = [{"customer": f"k{number}", "shop": "s"} for number in range(100, -1, -1)]
        found = await features.vectors(ADA, "whole", entities, request=[{"factor": 1}] * 101)
        assert [vector.values["tenure"] for vector in found] == [None, *range(99, -1, -1)]

    async def test_what_a_view_cannot_give_is_null_and_so_is_what_is_made_of_it(
        self, features: Features, clock: FakeClock
    ) -> None:
        await features.push(ADA, "customers", [self.row(clock, "a", 7)])
        clock.advance(3601)
        found = await self.vector(features, "a", "none")
        assert found.status == {"customers": "stale", "shops": "unknown"}
        assert set(found.values.values()) == {None}

    async def test_a_request_is_checked_by_type_and_path(self, features: Features) -> None:
        entities = [{"customer": "a", "shop": "s"}] * 2
        good: Mapping[str, Json] = {"factor": 1}
        wrong: Sequence[tuple[Sequence[Mapping[str, Json]], str]] = (
            ([good, {"factor": "1"}], "$.request[1].factor"),
            ([good, {}], "$.request[1].factor"),
            ([good, {"factor": 1, "more": 1}], "$.request[1].more"),
            ([], "$.request"),
        )
        for request, path in wrong:
            with pytest.raises(InvalidInput) as caught:
                await features.vectors(ADA, "whole", entities, request=request)
            assert [fault.path for fault in caught.value.fields] == [path]
        with pytest.raises(InvalidInput) as caught:
            await features.vectors(ADA, "whole", [{"customer": "a"}], request=[{"factor": 1}])
        assert [fault.path for fault in caught.value.fields] == ["$.entities[0].shop"]

    async def test_services_are_listed_with_what_they_read(self, features: Features) -> None:
        payers, whole = await features.services(ADA)
        assert (payers.name, *payers.entities, *payers.views) == ("payers", "payer", "paid")
        assert [*whole.entities, *whole.request, *whole.on_demand] == ["customer", "shop", "factor", "worth"]
        assert (whole.origins["worth"], whole.origins["rank"]) == ("worth", "shops")
        assert whole.fields["worth"] == "number"
        assert len({payers.fingerprint, whole.fingerprint}) == 2

    async def test_windows_count_each_pushed_event_once(self, features: Features, clock: FakeClock) -> None:
        def payment(amount: float, age: float) -> Row:
            at = clock.now() - timedelta(seconds=age)
            return Row("ann", {"payer": "ann", "amount": amount, "at": at.isoformat()}, at)

        rows = [payment(2.5, 10), payment(1.25, 3000), payment(8, 4000)]
        for each in (rows[:1], rows, rows[1:]):
            await features.push(ADA, "paid", each)
        [found] = await features.vectors(ADA, "payers", [{"payer": "ann"}])
        assert found.values == {"amount": 2.5, "payments": 2, "total": 3.75}
        clock.advance(1800)
        [found] = await features.vectors(ADA, "payers", [{"payer": "ann"}])
        assert found.values == {"amount": 2.5, "payments": 1, "total": 2.5}

    async def test_changes_tell_what_was_written(self, features: Features, clock: FakeClock) -> None:
        # Streams are generators, here and in the remote client; only so can one be ended early.
        news = cast(AsyncGenerator[Written, None], features.changes(ADA))
        assert (await asyncio.wait_for(anext(news), 60)).view == ""
        await features.push(STRANGER, "customers", [self.row(clock, "x", 1)])
        await features.push(ADA, "customers", [self.row(clock, "a", 1), self.row(clock, "b", 1)])
        told = await asyncio.wait_for(anext(news), 60)
        assert (told.view, list(told.keys)) == ("customers", ["a", "b"])
        await news.aclose()

    async def test_health_tells_the_newest_event_and_what_was_read(self, features: Features, clock: FakeClock) -> None:
        await features.push(ADA, "customers", [self.row(clock, "a", 1, age=5)])
        await self.vector(features, "a", "none")
        found = {view.view: view for view in await features.health(ADA)}
        assert (found["customers"].state, found["customers"].age_seconds) == ("fresh", 5)
        assert (found["shops"].state, found["shops"].unknown_rate) == ("empty", 1)
        assert {field.name: field.null_rate for field in found["customers"].fields}["plan"] == 1

    async def test_lineage_leads_from_the_source_to_the_service(self, features: Features) -> None:
        found = await features.lineage(ADA, "payers")
        assert [tuple(edge) for edge in found.edges if edge[1] == "field:paid.total"] == [
            ("column:payments.amount", "field:paid.total")
        ]
        with pytest.raises(NotFound):
            await features.lineage(ADA, "other")

    async def test_logged_vectors_are_taken(self, features: Features, clock: FakeClock) -> None:
        given = Logged("r1", {"payer": "ann"}, {}, {"amount": 1.0, "payments": 1, "total": 1.0}, clock.now())
        await features.log(ADA, "payers", [given])
        with pytest.raises(NotFound):
            await features.log(ADA, "other", [given])
