"""What the feature store does with its key-value store, and with declarations that cannot be."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel, Field

from stanchion.core.context import Effect
from stanchion.core.errors import Conflict, InvalidInput, Misconfigured, NotTrustworthy, Unavailable
from stanchion.core.storage.keyvalue.memory import MemoryKeyValue
from stanchion.features import Row, ViewSpec
from stanchion.features.service import FeatureService
from stanchion.testing.clock import FakeClock
from stanchion.testing.features import ADA, VIEWS

HOUR = timedelta(hours=1)


class Plain(BaseModel):
    title: str
    rank: int = 0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def store(clock: FakeClock) -> AsyncIterator[MemoryKeyValue]:
    made = MemoryKeyValue(clock=clock)
    yield made
    await made.close()


def service(store: Any, clock: FakeClock, row: type[BaseModel] = Plain, ttl: timedelta = HOUR) -> FeatureService:
    return FeatureService([ViewSpec("pages", row, "page", ttl)], store=store, clock=clock)


async def keys(store: Any) -> list[str]:
    return [key async for key in store.scan("features/")]


async def test_storage_is_freed_once_a_value_has_been_stale_for_as_long_as_it_was_fresh(
    store: Any, clock: FakeClock
) -> None:
    features = service(store, clock)
    await features.push(ADA, "pages", [Row("a", {"title": "A"}, clock.now())])
    clock.advance(7199)
    assert (await features.read(ADA, "pages", ["a"]))[0].status == "stale"
    clock.advance(2)
    assert (await features.read(ADA, "pages", ["a"]))[0].status == "unknown"
    assert await keys(store) == []


async def test_a_value_that_was_already_old_is_kept_for_a_minute_only(store: Any, clock: FakeClock) -> None:
    features = service(store, clock)
    assert await features.push(ADA, "pages", [Row("a", {"title": "A"}, clock.now() - 5 * HOUR)]) == 1
    assert (await features.read(ADA, "pages", ["a"]))[0].status == "stale"
    clock.advance(61)
    assert await keys(store) == []


async def test_a_view_whose_type_has_changed_starts_empty(store: Any, clock: FakeClock) -> None:
    class Changed(BaseModel):
        title: str
        rank: float = 0

    await service(store, clock).push(ADA, "pages", [Row("a", {"title": "A"}, clock.now())])
    assert (await service(store, clock, Changed).read(ADA, "pages", ["a"]))[0].status == "unknown"
    assert (await service(store, clock).read(ADA, "pages", ["a"]))[0].status == "present"


async def test_other_words_about_a_type_change_nothing(store: Any, clock: FakeClock) -> None:
    class Renamed(BaseModel):
        """The same fields, with a description."""

        title: str = Field(description="What stands above.", examples=["A"])
        rank: int = Field(0, title="The rank")

    await service(store, clock).push(ADA, "pages", [Row("a", {"title": "A"}, clock.now())])
    assert (await service(store, clock, Renamed).read(ADA, "pages", ["a"]))[0].values == {"title": "A", "rank": 0}


async def test_a_stored_value_that_is_not_ours_is_not_trusted(store: Any, clock: FakeClock) -> None:
    features = service(store, clock)
    await features.push(ADA, "pages", [Row("a", {"title": "A"}, clock.now())])
    [key] = await keys(store)
    for wrong in (b"", b"\xff", b"\x92\xa1x\x80"):
        await store.set({key: wrong})
        with pytest.raises(NotTrustworthy):
            await features.read(ADA, "pages", ["a"])


async def test_a_key_cannot_reach_another_tenants_values(store: Any, clock: FakeClock) -> None:
    features = service(store, clock)
    await features.push(ADA, "pages", [Row("a/b", {"title": "A"}, clock.now())])
    [key] = await keys(store)
    other = replace(ADA, tenant="t1/pages")
    for wanted in ("a/b", "b", "../a/b", key):
        assert (await features.read(other, "pages", [wanted]))[0].status == "unknown"


async def test_a_newer_value_that_comes_between_reading_and_writing_stays(clock: FakeClock) -> None:
    class Crowded(MemoryKeyValue):
        async def swap(self, key: str, expected: bytes | None, new: bytes | None, *, ttl: float | None = None) -> bool:
            if not self.met:
                self.met = True
                await other.push(ADA, "pages", [Row("a", {"title": "newer"}, clock.now())])
            return await super().swap(key, expected, new, ttl=ttl)

        met = False

    store = Crowded(clock=clock)
    other = service(store, clock)
    assert await service(store, clock).push(ADA, "pages", [Row("a", {"title": "old"}, clock.now() - HOUR)]) == 0
    assert (await other.read(ADA, "pages", ["a"]))[0].values["title"] == "newer"


async def test_endless_contention_ends_as_a_conflict(clock: FakeClock) -> None:
    class Hopeless(MemoryKeyValue):
        async def swap(self, key: str, expected: bytes | None, new: bytes | None, *, ttl: float | None = None) -> bool:
            return False

    with pytest.raises(Conflict):
        await service(Hopeless(clock=clock), clock).push(ADA, "pages", [Row("a", {"title": "A"}, clock.now())])


async def test_a_store_that_is_down_is_told_as_such(clock: FakeClock) -> None:
    class Down(MemoryKeyValue):
        async def swap(self, key: str, expected: bytes | None, new: bytes | None, *, ttl: float | None = None) -> bool:
            raise Unavailable("no answer")

    rows = [Row(str(number), {"title": "A"}, clock.now()) for number in range(3)]
    with pytest.raises(Unavailable):
        await service(Down(clock=clock), clock).push(ADA, "pages", rows)


async def test_a_push_notes_counts_and_no_keys(store: Any, clock: FakeClock) -> None:
    effect = Effect("features:write", "write", "FeatureView::pages", "t1", "ada", "r", "t")
    row = Row("ann@example.org", {"title": "A"}, clock.now())
    await service(store, clock).push(ADA.within(effect), "pages", [row, row])
    assert effect.facts == {"view": "pages", "rows": 2, "newer": 1}


async def test_a_moment_without_an_offset_is_refused(store: Any, clock: FakeClock) -> None:
    with pytest.raises(InvalidInput) as caught:
        await service(store, clock).push(ADA, "pages", [Row("a", {"title": "A"}, clock.now().replace(tzinfo=None))])
    assert caught.value.fields[0].path == "$.rows[0].at"


async def test_at_most_a_hundred_faults_are_told(store: Any, clock: FakeClock) -> None:
    rows = [Row("a", {"title": 1}, clock.now())] * 150
    with pytest.raises(InvalidInput, match="and 50 more") as caught:
        await service(store, clock).push(ADA, "pages", rows)
    assert len(caught.value.fields) == 100


@pytest.mark.parametrize(
    "views",
    [
        [*VIEWS, VIEWS[0]],
        [ViewSpec("a b", Plain, "page", HOUR)],
        [ViewSpec("pages", Plain, "page", timedelta(0))],
    ],
    ids=["twice", "name", "ttl"],
)
def test_a_view_that_cannot_be_served_is_misconfigured(store: Any, clock: FakeClock, views: list[ViewSpec]) -> None:
    with pytest.raises(Misconfigured):
        FeatureService(views, store=store, clock=clock)
