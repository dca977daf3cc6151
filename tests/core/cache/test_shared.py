from __future__ import annotations

import asyncio
import json

import pytest

from stanchion.core.cache import Cache, SecondLevel
from stanchion.core.errors import Unavailable


def at_once(value):
    async def compute():
        return value

    return compute


@pytest.fixture
def process(store, clock):
    """Makes the cache of one more process over the same store."""

    def make(**options):
        second = SecondLevel(store, encode=lambda v: json.dumps(v).encode(), decode=json.loads, clock=clock)
        return Cache(**({"max_entries": 10, "ttl": 60.0, "clock": clock, "second": second} | options))

    return make


async def test_another_process_finds_the_value(process):
    await process().get("k", at_once({"a": 1}))
    other = process()
    assert await other.get("k", at_once(2)) == ({"a": 1}, "hit")
    assert (other.stats().hits, other.stats().misses) == (1, 0)


async def test_a_value_lives_no_longer_for_having_been_copied(process, clock):
    await process(ttl=10.0).get("k", at_once(1))
    clock.advance(8)
    other = process(ttl=10.0)
    assert (await other.get("k", at_once(2))).how == "hit"
    clock.advance(2)
    assert await other.get("k", at_once(2)) == (2, "miss")


async def test_an_invalidated_tag_holds_for_all_processes(process):
    one, other = process(), process()
    await one.get("k", at_once(1), tags=["t", "u"])
    await other.invalidate("t")
    assert await process().get("k", at_once(2), tags=["t", "u"]) == (2, "miss")
    assert await process().get("k", at_once(3), tags=["u", "t"]) == (2, "hit")


async def test_a_result_from_before_an_invalidation_elsewhere_is_never_served(process):
    begun, go = asyncio.Event(), asyncio.Event()

    async def slow():
        begun.set()
        await go.wait()
        return "old"

    task = asyncio.create_task(process().get("k", slow, tags=["t"]))
    await begun.wait()
    await process().invalidate("t")
    go.set()
    await task
    assert await process().get("k", at_once("new"), tags=["t"]) == ("new", "miss")


async def test_a_forgotten_value_is_gone_for_all(process):
    one = process()
    await one.get("k", at_once(1))
    await one.forget("k")
    assert (await process().get("k", at_once(2))).how == "miss"


async def test_what_cannot_be_decoded_is_absent(process, store):
    await process().get("k", at_once(1))
    [key] = [key async for key in store.scan("cache:v:")]
    [stored] = await store.get([key])
    for broken in (b"", b"x y\n1", stored[:-1] + b"{"):
        await store.set({key: broken})
        assert await process().get("k", at_once(1)) == (1, "miss")


async def test_an_unavailable_store_costs_hits_not_answers(process, store):
    async def away(*args, **options):
        raise Unavailable

    store.get = store.set = away
    c = process()
    assert await c.get("k", at_once(1)) == (1, "miss")
    assert await c.get("k", at_once(1)) == (1, "hit")
    with pytest.raises(Unavailable):
        await c.invalidate("t")
