"""Who follows changes misses none: told by key in this process, by view of other processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from stanchion.core.context import Context
from stanchion.core.errors import Unavailable
from stanchion.core.storage.keyvalue.memory import MemoryKeyValue
from stanchion.features import Row, Written
from stanchion.features.service import FeatureService
from stanchion.testing.clock import FakeClock
from stanchion.testing.features import ADA, STRANGER
from tests.features.shop import shop


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> MemoryKeyValue:
    return MemoryKeyValue(clock=clock)


def service(store: MemoryKeyValue, clock: FakeClock, *, poll_seconds: float = 30) -> FeatureService:
    return FeatureService(shop().all(), store=store, clock=clock, poll_seconds=poll_seconds)


async def push(features: FeatureService, clock: FakeClock, *keys: str, ctx: Context = ADA) -> None:
    clock.advance(0.001)
    await features.push(ctx, "profile", [Row(key, {"age": 1}, clock.now()) for key in keys])


async def taken(news: AsyncIterator[Written]) -> Written:
    return await asyncio.wait_for(anext(news), 60)


@asynccontextmanager
async def following(features: FeatureService) -> AsyncIterator[AsyncIterator[Written]]:
    news = features.changes(ADA)
    yield news
    await news.aclose()  # type: ignore[attr-defined]  # a generator, as all streams are


async def test_a_write_of_this_process_is_told_at_once_by_its_keys(store: MemoryKeyValue, clock: FakeClock) -> None:
    features = service(store, clock)
    async with following(features) as news:
        assert await taken(news) == Written("", ())
        await push(features, clock, "ann", "bob")
        assert await taken(news) == Written("profile", ("ann", "bob"))
        await push(features, clock, "eve")
        await push(features, clock, "ann")
        assert await taken(news) == Written("profile", ("eve", "ann"))


async def test_a_write_of_another_process_is_told_by_its_view(store: MemoryKeyValue, clock: FakeClock) -> None:
    here, there = service(store, clock, poll_seconds=0.01), service(store, clock)
    async with following(here) as news:
        await taken(news)
        await push(there, clock, "ann")
        assert await taken(news) == Written("profile", ())
        await push(here, clock, "bob")
        assert await taken(news) == Written("profile", ("bob",))


async def test_what_changes_nothing_is_not_told(store: MemoryKeyValue, clock: FakeClock) -> None:
    features = service(store, clock)
    row = Row("ann", {"age": 1}, clock.now())
    await features.push(ADA, "profile", [row])
    async with following(features) as news:
        await taken(news)
        await features.push(ADA, "profile", [row])
        await push(features, clock, "bob")
        assert await taken(news) == Written("profile", ("bob",))


async def test_another_tenants_writes_are_not_told(store: MemoryKeyValue, clock: FakeClock) -> None:
    features = service(store, clock)
    async with following(features) as news:
        await taken(news)
        await push(features, clock, "eve", ctx=STRANGER)
        await push(features, clock, "ann")
        assert await taken(news) == Written("profile", ("ann",))


async def test_a_follower_that_falls_behind_is_told_by_view(store: MemoryKeyValue, clock: FakeClock) -> None:
    features = service(store, clock)
    async with following(features) as news:
        await taken(news)
        for part in range(3):
            await push(features, clock, *(f"k{part}-{number}" for number in range(500)))
        assert await taken(news) == Written("profile", ())


async def test_counters_that_are_lost_empty_the_view_once(store: MemoryKeyValue, clock: FakeClock) -> None:
    features = service(store, clock, poll_seconds=0.01)
    await push(features, clock, "ann")
    async with following(features) as news:
        await taken(news)
        await store.delete([key async for key in store.scan("feature-writes/")])
        assert await taken(news) == Written("profile", ())


async def test_following_ends_when_the_store_stops(store: MemoryKeyValue, clock: FakeClock) -> None:
    features = service(store, clock)
    news = features.changes(ADA)
    await taken(news)
    waiting = asyncio.create_task(taken(news))
    await asyncio.sleep(0)
    await features.stop()
    with pytest.raises(Unavailable):
        await waiting
