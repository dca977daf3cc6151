"""Answers that are given again, and when they are not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from stanchion import System
from stanchion.core.clock import SystemClock
from stanchion.core.context import Context, Rights
from stanchion.core.errors import Misconfigured
from stanchion.serving import Cache, Similar
from stanchion.serving.caching.answers import Given, ResponseCache
from stanchion.serving.caching.near import Near
from stanchion.testing.clock import FakeClock


class Flat(BaseModel):
    customer: str
    rooms: int = Field(ge=0)
    size: float = Field(ge=0)
    text: str = ""


class Price(BaseModel):
    price: float


def system(cache: Cache, calls: list[int], *, broken: list[bool] | None = None) -> System:
    app = System("flats")

    @app.model("price", cache=cache, default=Price(price=-1.0))
    async def price(items: Sequence[Flat]) -> list[Price]:
        calls.append(len(items))
        await asyncio.sleep(0)
        if broken and broken[0]:
            raise RuntimeError("down")
        return [Price(price=item.rooms * 100 + item.size) for item in items]

    return app


FLAT = {"customer": "a", "rooms": 2, "size": 50.0}


async def test_an_equal_input_is_answered_from_the_cache(start: Any) -> None:
    calls: list[int] = []
    async with start(system(Cache(), calls)) as run:
        first, second = [(await run.predict("price", FLAT)).json() for _ in range(2)]
        assert (first["served_by"], second["served_by"]) == ("primary", "cache")
        assert first["price"] == second["price"] == 250.0
        assert len(calls) == 1
        status = (await run.client.get("/v1/serving/models/price")).json()["cache"]
        assert status == {"hits": 1, "similar": 0, "coalesced": 0, "misses": 1, "entries": 1, "rate": 0.5}
        metrics = (await run.client.get("/metrics")).text
        assert 'stanchion_cache_total{cache="price",result="hit"} 1.0' in metrics
        assert 'stanchion_cache_total{cache="price",result="miss"} 1.0' in metrics


async def test_an_absent_field_and_its_default_are_the_same_input(start: Any) -> None:
    calls: list[int] = []
    async with start(system(Cache(), calls)) as run:
        await run.predict("price", FLAT)
        assert (await run.predict("price", {**FLAT, "text": ""})).json()["served_by"] == "cache"


async def test_a_field_that_the_answer_does_not_hang_on_is_left_out_of_the_key(start: Any) -> None:
    calls: list[int] = []
    async with start(system(Cache(ignore=["customer"]), calls)) as run:
        await run.predict("price", FLAT)
        assert (await run.predict("price", {**FLAT, "customer": "b"})).json()["served_by"] == "cache"
        assert (await run.predict("price", {**FLAT, "rooms": 3})).json()["served_by"] == "primary"


async def test_an_answer_is_forgotten_after_its_time(start: Any) -> None:
    calls: list[int] = []
    clock = FakeClock()
    async with start(system(Cache(ttl=30), calls), clock=clock) as run:
        await run.serving.predict(run.ctx, "price", [FLAT])
        clock.advance(29)
        assert (await run.serving.predict(run.ctx, "price", [FLAT])).served_by == "cache"
        clock.advance(2)
        assert (await run.serving.predict(run.ctx, "price", [FLAT])).served_by == "primary"


async def test_equal_calls_at_once_are_one_run(start: Any) -> None:
    calls: list[int] = []
    async with start(system(Cache(), calls)) as run:
        answers = await asyncio.gather(*(run.serving.predict(run.ctx, "price", [FLAT]) for _ in range(20)))
        assert len(calls) == 1
        assert [each.cache for each in answers].count("coalesced") == 19
        assert {each.items[0].values["price"] for each in answers} == {250.0}


async def test_what_stood_in_during_an_outage_is_not_kept(start: Any) -> None:
    calls: list[int] = []
    broken = [True]
    async with start(system(Cache(), calls, broken=broken)) as run:
        assert (await run.predict("price", FLAT)).json()["served_by"] == "default"
        broken[0] = False
        answer = (await run.predict("price", FLAT)).json()
        assert (answer["served_by"], answer["price"]) == ("primary", 250.0)


async def test_several_instances_are_answered_in_part_from_the_cache(start: Any) -> None:
    calls: list[int] = []
    async with start(system(Cache(), calls)) as run:
        await run.predict("price", FLAT)
        body = {"model_id": "price", "instances": [{**FLAT, "rooms": 9}, FLAT, {"rooms": 1}, {**FLAT, "rooms": 8}]}
        answer = (await run.post("/v1/predictions", body)).json()
        assert answer["served_by"] == "primary"
        assert [each.get("price") for each in answer["predictions"]] == [950.0, 250.0, None, 850.0]
        assert [each.get("served_by") for each in answer["predictions"]] == [None, "cache", None, None]
        assert calls == [1, 2]


async def test_the_nearest_input_within_all_tolerances_answers(start: Any) -> None:
    calls: list[int] = []
    async with start(system(Cache(ignore=["customer"], near={"size": 2.0}), calls)) as run:
        for size in (50.0, 53.0):
            await run.predict("price", {**FLAT, "size": size})
        near = (await run.predict("price", {**FLAT, "size": 52.0})).json()
        assert (near["served_by"], near["price"]) == ("cache", 253.0)
        assert (await run.predict("price", {**FLAT, "size": 56.0})).json()["served_by"] == "primary"
        assert (await run.predict("price", {**FLAT, "rooms": 3, "size": 50.0})).json()["served_by"] == "primary"
        assert (await run.client.get("/v1/serving/models/price")).json()["cache"]["similar"] == 1


def letters(texts: Sequence[str]) -> list[list[float]]:
    """An embedding for tests: how often each letter occurs."""
    return [[float(text.lower().count(chr(97 + place))) for place in range(26)] for text in texts]


async def test_a_text_that_means_the_same_is_answered_from_the_cache(start: Any) -> None:
    calls: list[int] = []
    cache = Cache(similar=Similar("text", letters, least=0.95))
    async with start(system(cache, calls)) as run:
        await run.predict("price", {**FLAT, "text": "a sunny flat"})
        assert (await run.predict("price", {**FLAT, "text": "A sunny  flat!"})).json()["served_by"] == "cache"
        assert (await run.predict("price", {**FLAT, "text": "quiet cellar"})).json()["served_by"] == "primary"


async def test_an_embedding_that_fails_leaves_the_answer_to_the_model(start: Any) -> None:
    def broken(texts: Sequence[str]) -> list[list[float]]:
        raise ConnectionError(texts[0])

    calls: list[int] = []
    async with start(system(Cache(similar=Similar("text", broken)), calls)) as run:
        assert (await run.predict("price", {**FLAT, "text": "one"})).json()["served_by"] == "primary"
        assert (await run.predict("price", {**FLAT, "text": "one"})).json()["served_by"] == "cache"


@pytest.mark.parametrize(
    "options",
    [{"ttl": 0}, {"entries": 0}, {"near": {"size": 0.0}}, {"near": {"size": 1.0}, "similar": Similar("text", letters)}],
)
def test_a_cache_that_cannot_be_is_misconfigured(options: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured):
        Cache(**options)


def test_a_cache_over_a_field_that_is_not_there_is_misconfigured() -> None:
    with pytest.raises(Misconfigured, match="colour"):
        system(Cache(near={"colour": 1.0}), [])


def made(clock: Any, **options: Any) -> ResponseCache:
    return ResponseCache(
        Cache(**options),
        model="m",
        version="1",
        fingerprint="",
        entities=("customer",),
        clock=clock,
        count=lambda model, result: None,
    )


def caller(tenant: str = "t1", *roles: str) -> Context:
    return Context(tenant, "ada", Rights(frozenset(roles)))


GIVEN = Given({"price": 1.0}, "primary", True)


async def test_no_tenant_gets_the_answer_of_another() -> None:
    cache = made(FakeClock())
    cache.put(await cache.place(caller("t1"), FLAT), GIVEN)
    assert cache.find(await cache.place(caller("t1"), FLAT)) == (GIVEN, "hit")
    assert cache.find(await cache.place(caller("t2"), FLAT)) is None


async def test_callers_with_other_rights_are_kept_apart_where_it_is_declared() -> None:
    shared, apart = made(FakeClock()), made(FakeClock(), by_rights=True)
    for cache in (shared, apart):
        cache.put(await cache.place(caller("t1", "viewer"), FLAT), GIVEN)
    assert shared.find(await shared.place(caller("t1", "admin"), FLAT)) is not None
    assert apart.find(await apart.place(caller("t1", "admin"), FLAT)) is None
    assert apart.find(await apart.place(caller("t1", "viewer"), FLAT)) is not None


async def test_answers_over_an_entity_are_dropped_by_its_key() -> None:
    cache = made(FakeClock())
    places = {key: await cache.place(caller(), {**FLAT, "customer": key}) for key in ("a", "b")}
    for place in places.values():
        cache.put(place, GIVEN)
    await cache.forget("t1", ["a"])
    assert [cache.find(place) is None for place in places.values()] == [True, False]
    await cache.forget("t1", [])
    assert cache.find(places["b"]) is None


@given(
    st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), min_size=1, max_size=40),
    st.tuples(st.floats(-50, 50), st.floats(-50, 50)),
)
def test_what_is_found_is_within_every_tolerance_and_nothing_nearer_is_missed(
    stored: list[tuple[float, float]], wanted: tuple[float, float]
) -> None:
    tolerances = (2.0, 5.0)
    near = Near(buckets=2, tolerances=tolerances)
    for number, vector in enumerate(stored):
        near.add("b", str(number), vector)

    def distance(vector: tuple[float, float]) -> float:
        # Scaled before they are compared, as the index does it: the same roundings.
        pairs = zip(vector, wanted, tolerances, strict=True)
        return max(abs(a / tolerance - b / tolerance) for a, b, tolerance in pairs)

    least = min(map(distance, stored))
    found = near.find("b", wanted)
    assert (found is None) == (least > 1.0)
    if found is not None:
        assert distance(stored[int(found)]) == least
    assert near.find("c", wanted) is None


def test_near_inputs_make_room_for_newer_ones_and_can_be_dropped() -> None:
    near = Near(buckets=1, tolerances=(1.0,))
    for number in range(600):
        near.add("b", str(number), [10.0 * number])
    assert near.find("b", [0.0]) is None
    assert near.find("b", [5990.0]) == "599"
    near.drop("599")
    assert near.find("b", [5990.0]) is None
    near.add("c", "x", [1.0])
    assert near.find("b", [5980.0]) is None


async def test_a_promotion_leaves_no_old_answer(bench: Any, ctx: Any, customer: Any) -> None:
    from stanchion.serving import Options

    await bench.register("old", 0.1, promote=True)
    service = bench.serving(bench.spec(options=Options(cache=Cache())), clock=SystemClock())
    await service.start()
    assert [(await service.predict(ctx, "churn", [customer])).served_by for _ in range(2)] == ["primary", "cache"]
    new = await bench.register("new", 0.9, promote=True)
    async with asyncio.timeout(60):
        while (await service.describe(ctx, "churn")).version != new.version:
            await asyncio.sleep(0.001)
    answer = await service.predict(ctx, "churn", [customer])
    assert (answer.served_by, answer.items[0].values["probability"]) == ("primary", 0.9)
    await bench.registry.rollback(ctx, "churn", reason="worse")
    async with asyncio.timeout(60):
        while (await service.describe(ctx, "churn")).version != "1.0.0":
            await asyncio.sleep(0.001)
    answer = await service.predict(ctx, "churn", [customer])
    assert answer.items[0].values["probability"] == 0.1
    await service.stop()
