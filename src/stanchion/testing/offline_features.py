"""The contract of the feature store's offline side as tests: subclass `OfflineFeaturesSuite` and give it a door.

The door must hold the declarations of `DECLARED` and no row of the tenants `t1` and `t2`. Needs the extra `features`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from stanchion.core.errors import InvalidInput, MalformedRequest, NotFound
from stanchion.core.values import Json
from stanchion.features import (
    Features,
    OnDemandSpec,
    Row,
    ServiceSpec,
    SourceSpec,
    ViewSpec,
    count,
    distinct,
    maximum,
    mean,
    total,
)

from .clock import FakeClock
from .features import ADA, STRANGER

HOUR = timedelta(hours=1)


class Payment(BaseModel):
    """One row of the source `payments`."""

    card: str
    shop: str
    at: datetime
    id: int
    amount: float


class Spending(BaseModel):
    """The view `spending`: the newest payment, and windows over all."""

    amount: float
    cents: int
    payments_1h: int
    spent_1d: float
    mean_1d: float | None
    most_1d: float | None
    shops_1d: int


class Profile(BaseModel):
    """The pushed view `profiles`."""

    name: str
    limit: float
    since: datetime | None = None


class Asked(BaseModel):
    """The fields of a request."""

    price: float


class Judged(BaseModel):
    """What the transform gives."""

    share: float


def judge(inputs: Mapping[str, Any]) -> Judged:
    """How much of the limit the price takes."""
    return Judged(share=inputs["price"] / inputs["limit"])


_SOURCE = SourceSpec("payments", Payment, "at", event="id")
_WINDOWS = {
    "payments_1h": count(hours=1),
    "spent_1d": total("amount", days=1),
    "mean_1d": mean("amount", days=1),
    "most_1d": maximum("amount", days=1),
    "shops_1d": distinct("shop", days=1),
}
DECLARED: Sequence[object] = (
    _SOURCE,
    ViewSpec("spending", Spending, "card", 48 * HOUR, _SOURCE, {"cents": "round(amount * 100)"}, _WINDOWS),
    ViewSpec("profiles", Profile, "customer", HOUR),
    OnDemandSpec("judged", ["profiles"], Asked, Judged, judge),
    ServiceSpec("fraud", ["spending", "profiles"], ["judged"]),
    ServiceSpec("cards", ["spending"]),
)


def stream(table: Any) -> bytes:
    """A table as an Arrow IPC stream."""
    import pyarrow

    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def spine(moments: Sequence[datetime], **columns: Sequence[Any]) -> bytes:
    """A spine with the column `asked` and others."""
    import pyarrow

    asked = pyarrow.array(moments, pyarrow.timestamp("us", tz="UTC"))
    return stream(pyarrow.table({**{name: list(values) for name, values in columns.items()}, "asked": asked}))


class OfflineFeaturesSuite:
    """Override the async fixture `features`; build the door with the fixture `clock`."""

    pytestmark = pytest.mark.asyncio

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock(datetime(2026, 3, 1, 12, tzinfo=UTC))

    @pytest.fixture
    def features(self, clock: FakeClock) -> Features:
        raise NotImplementedError("override the fixture `features`")

    @staticmethod
    async def pay(features: Features, clock: FakeClock, number: int, amount: float, *, age: float = 0) -> None:
        """Push a payment of card `a` that was made `age` seconds ago."""
        at = clock.now() - timedelta(seconds=age)
        values: dict[str, Json] = {
            "card": "a",
            "shop": f"s{number % 3}",
            "at": at.isoformat(),
            "id": number,
            "amount": amount,
        }
        await features.push(ADA, "spending", [Row("a", values, at)])

    @staticmethod
    async def joined(
        features: Features, service: str, content: bytes, *, as_of: Literal["known", "event"] = "known", **more: Any
    ) -> Any:
        """The training set as a table."""
        import pyarrow

        found = features.historical(ADA, service, content, time="asked", as_of=as_of, **more)
        pieces = [piece async for piece in found]
        return pyarrow.ipc.open_stream(b"".join(pieces)).read_all()

    async def test_features_stand_behind_the_spine_in_its_order(self, features: Features, clock: FakeClock) -> None:
        await self.pay(features, clock, 1, 2.5)
        await features.push(ADA, "profiles", [Row("ann", {"name": "Ann", "limit": 10.0}, clock.now())])
        clock.advance(10)
        moments = [clock.now(), clock.now() - HOUR, clock.now()]
        content = spine(moments, card=["a", "a", "b"], customer=["ann"] * 3, price=[5.0] * 3, label=[1, 2, 3])
        table = await self.joined(features, "fraud", content)
        own = ["card", "customer", "price", "label", "asked"]
        assert table.column_names == [*own, *Spending.model_fields, *Profile.model_fields, "share"]
        assert table["label"].to_pylist() == [1, 2, 3]
        assert table["cents"].to_pylist() == [250, None, None]
        assert table["payments_1h"].to_pylist() == [1, None, None]
        assert table["share"].to_pylist() == [0.5, None, 0.5]

    async def test_a_training_set_holds_what_serving_would_have_said(
        self, features: Features, clock: FakeClock
    ) -> None:
        """Pushes late, again and corrected, and reads between them: the join gives each reading again."""
        moments, served = [], []
        for number in range(25):
            late = (0, 30, 0, 4_000, 90_000)[number * 3 % 5]
            await self.pay(features, clock, number * 7 % (number + 1), number * 37 % 100 / 8, age=late)
            clock.advance((1, 600, 20_000)[number * 5 % 3])
            [vector] = await features.vectors(ADA, "cards", [{"card": "a"}])
            moments.append(clock.now())
            served.append(dict(vector.values))
            clock.advance(1)
        table = await self.joined(features, "cards", spine(moments, card=["a"] * len(moments)))
        assert table.select(list(Spending.model_fields)).to_pylist() == served

    async def test_late_rows_count_from_when_they_were_known(self, features: Features, clock: FakeClock) -> None:
        start = clock.now()
        await self.pay(features, clock, 1, 1.0)
        clock.advance(1800)
        await self.pay(features, clock, 2, 4.0, age=1200)
        content = spine([start + timedelta(seconds=s) for s in (900, 1800)], card=["a", "a"])
        assert (await self.joined(features, "cards", content))["spent_1d"].to_pylist() == [1.0, 5.0]
        by_event = await self.joined(features, "cards", content, as_of="event")
        assert by_event["spent_1d"].to_pylist() == [5.0, 5.0]

    async def test_a_correction_takes_the_place_of_its_event(self, features: Features, clock: FakeClock) -> None:
        start = clock.now()
        await self.pay(features, clock, 1, 100.0)
        clock.advance(60)
        await self.pay(features, clock, 1, 1.0, age=60)
        content = spine([start + timedelta(seconds=s) for s in (30, 60)], card=["a", "a"])
        table = await self.joined(features, "cards", content)
        assert (table["spent_1d"].to_pylist(), table["amount"].to_pylist()) == ([100.0, 1.0], [100.0, 1.0])
        assert (table["payments_1h"].to_pylist(), table["most_1d"].to_pylist()) == ([1, 1], [100.0, 1.0])

    async def test_a_value_past_its_ttl_is_null_to_the_microsecond(self, features: Features, clock: FakeClock) -> None:
        at = clock.now()
        await features.push(ADA, "profiles", [Row("ann", {"name": "Ann", "limit": 10.0}, at)])
        ends = at + HOUR
        content = spine(
            [at, ends, ends + timedelta(microseconds=1), at - timedelta(microseconds=1)],
            card=["none"] * 4,
            customer=["ann"] * 4,
            price=[1.0] * 4,
        )
        table = await self.joined(features, "fraud", content)
        assert table["name"].to_pylist() == ["Ann", "Ann", None, None]

    async def test_what_a_view_says_of_a_row_stands_last_if_asked_for(
        self, features: Features, clock: FakeClock
    ) -> None:
        at, moment = clock.now(), timedelta(microseconds=1)
        await features.push(ADA, "profiles", [Row("ann", {"name": "Ann", "limit": 10.0}, at)])
        moments = [at, at + HOUR + moment, at + 2 * HOUR + moment, at - moment]
        content = spine(moments, card=["none"] * 4, customer=["ann"] * 4, price=[1.0] * 4)
        table = await self.joined(features, "fraud", content, status=True)
        assert table.column_names[-3:] == ["share", "status:spending", "status:profiles"]
        assert table["status:profiles"].to_pylist() == ["present", "stale", "unknown", "unknown"]
        assert table["status:spending"].to_pylist() == ["unknown"] * 4

    async def test_keys_may_be_any_text_that_every_database_holds(self, features: Features, clock: FakeClock) -> None:
        for key in ("a b", "ä/é", "x' OR 1=1 --", '"', "\U0001f600"):
            await features.push(ADA, "profiles", [Row(key, {"name": "n\0n", "limit": 1.0}, clock.now())])
            content = spine([clock.now()], card=["none"], customer=[key], price=[1.0])
            assert (await self.joined(features, "fraud", content))["name"].to_pylist() == ["n\0n"]
        with pytest.raises(InvalidInput):
            await features.push(ADA, "profiles", [Row("a\0b", {"name": "n", "limit": 1.0}, clock.now())])

    async def test_another_tenants_rows_are_not_there(self, features: Features, clock: FakeClock) -> None:
        await self.pay(features, clock, 1, 1.0)
        clock.advance(1)
        pieces = [
            piece
            async for piece in features.historical(
                STRANGER, "cards", spine([clock.now()], card=["a"]), time="asked", as_of="known"
            )
        ]
        import pyarrow

        assert pyarrow.ipc.open_stream(b"".join(pieces)).read_all()["amount"].to_pylist() == [None]

    async def test_a_spine_without_rows_gives_the_columns(self, features: Features, clock: FakeClock) -> None:
        import pyarrow

        moments = pyarrow.array([], pyarrow.timestamp("us", tz="UTC"))
        empty = stream(pyarrow.table({"card": pyarrow.array([], pyarrow.string()), "asked": moments}))
        table = await self.joined(features, "cards", empty)
        assert (table.num_rows, table.column_names) == (0, ["card", "asked", *Spending.model_fields])

    async def test_what_is_wrong_with_a_spine_is_told_by_its_place(self, features: Features, clock: FakeClock) -> None:
        import pyarrow

        now = clock.now()
        naive = stream(pyarrow.table({"card": ["a"], "asked": pyarrow.array([now], pyarrow.timestamp("us"))}))
        for content, path in (
            (spine([now], kart=["a"]), "$.spine.card"),
            (spine([now], card=["a"], amount=[1.0]), "$.spine.amount"),
            (spine([now, now], card=["a", None]), "$.spine[1].card"),
            (spine([now], card=[1.5]), "$.spine.card"),
            (naive, "$.spine.asked"),
        ):
            with pytest.raises(InvalidInput) as caught:
                await self.joined(features, "cards", content)
            assert caught.value.fields[0].path == path
        with pytest.raises(InvalidInput) as caught:
            await self.joined(features, "fraud", spine([now], card=["a"], customer=["ann"], price=["much"]))
        assert caught.value.fields[0].path == "$.spine[0].price"
        with pytest.raises(MalformedRequest):
            await self.joined(features, "cards", b"no arrow")
        with pytest.raises(NotFound):
            await self.joined(features, "none", spine([now], card=["a"]))

    async def test_a_backfill_of_pushed_rows_changes_nothing(self, features: Features, clock: FakeClock) -> None:
        await self.pay(features, clock, 1, 2.5, age=7_200)
        await self.pay(features, clock, 2, 4.0)
        clock.advance(1)
        before = await features.vectors(ADA, "cards", [{"card": "a"}])
        start = clock.now() - 3 * HOUR
        told = [event async for event in features.materialise(ADA, "spending", start=start, end=None)]
        assert (sum(event.rows for event in told), told[-1].done) == (2, told[-1].total)
        assert await features.vectors(ADA, "cards", [{"card": "a"}]) == before

    async def test_materialising_needs_a_view_and_a_stretch(self, features: Features, clock: FakeClock) -> None:
        for view, start, error in (("none", None, NotFound), ("spending", clock.now() + HOUR, InvalidInput)):
            with pytest.raises(error):
                async for _ in features.materialise(ADA, view, start=start, end=None):
                    raise AssertionError
