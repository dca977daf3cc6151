"""Graphs come and go: the budget, the least recently used, what is idle, and loads that all who wait share."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stanchion.core.context import Context
from stanchion.core.errors import Conflict, StanchionError, Unavailable
from stanchion.serving.memory import Memory, MemoryLimits, Resident, Watchers
from stanchion.testing.clock import FakeClock
from tests.serving.conftest import Bench


class Shop:
    """Models of a given size, whose loads are counted and can be held up."""

    def __init__(self, **limits: Any) -> None:
        self.clock = FakeClock()
        self.unloads: list[tuple[str, str]] = []
        self.memory = Memory(
            self.clock,
            MemoryLimits(**{"patience": 0.05, **limits}),
            Watchers(on_unload=lambda model, reason: self.unloads.append((model, reason))),
        )
        self.loads: list[str] = []
        self.hold = asyncio.Event()
        self.hold.set()

    def model(self, name: str, size: int = 10) -> Resident[str]:
        async def fetch() -> Mapping[str, bytes]:
            self.loads.append(name)
            await self.hold.wait()
            return {"primary": b"x" * size}

        # A fixed growth stands in for the process's own: what a test machine does must not decide.
        return Resident(name, self.memory, fetch=fetch, build=lambda contents: {"primary": name})

    async def use(self, resident: Resident[str], seconds: float = 1.0) -> None:
        await resident.back()
        resident.enter()
        resident.leave()
        self.clock.advance(seconds)


@pytest.fixture(autouse=True)
def weighed_by_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stanchion.serving.memory._grown", lambda: 0)


def held(*residents: Resident[str]) -> list[str]:
    return [each.model for each in residents if each.graphs is not None]


async def test_the_least_recently_used_makes_room() -> None:
    shop = Shop(budget=25)
    a, b, c = shop.model("a"), shop.model("b"), shop.model("c")
    for each in (a, b, a, c):
        await shop.use(each)
    assert held(a, b, c) == ["a", "c"]
    assert shop.unloads == [("b", "room")]
    assert shop.memory.used == 20


async def test_what_is_in_use_is_never_unloaded() -> None:
    shop = Shop(budget=15)
    a, b = shop.model("a"), shop.model("b")
    await shop.use(a)
    a.enter()
    with pytest.raises(Unavailable) as caught:
        await b.back()
    assert caught.value.retry_after == 1.0
    assert held(a, b) == ["a"]
    a.leave()
    await b.back()
    assert held(a, b) == ["b"]


async def test_a_load_waits_for_a_run_to_end_if_that_makes_room() -> None:
    shop = Shop(budget=15, patience=5.0)
    a, b = shop.model("a"), shop.model("b")
    await shop.use(a)
    a.enter()
    waiting = asyncio.create_task(b.back())
    while not shop.memory.crowded:
        await asyncio.sleep(0)
    a.leave()
    assert await waiting == {"primary": "b"}
    assert held(a, b) == ["b"]


async def test_a_model_larger_than_the_budget_is_refused_and_nobody_else_is_unloaded_for_it() -> None:
    shop = Shop(budget=25)
    a, huge = shop.model("a"), shop.model("huge", 26)
    await shop.use(a)
    with pytest.raises(Unavailable, match="more than the budget"):
        await huge.back()
    assert held(a, huge) == ["a"]


async def test_what_is_idle_is_unloaded_and_comes_back_with_the_next_call() -> None:
    shop = Shop(idle_seconds=60)
    a, b = shop.model("a"), shop.model("b")
    await shop.use(a, 50)
    await shop.use(b, 15)
    assert shop.memory.sweep() == ["a"]
    assert held(a, b) == ["b"]
    await shop.use(a)
    assert held(a, b) == ["a", "b"]
    assert shop.loads == ["a", "b", "a"]


async def test_nothing_idle_that_is_in_use_or_kept_is_unloaded() -> None:
    shop = Shop(idle_seconds=60, keep=frozenset({"kept"}))
    busy, kept = shop.model("busy"), shop.model("kept")
    await shop.use(busy)
    await shop.use(kept)
    busy.enter()
    shop.clock.advance(1000)
    assert shop.memory.sweep() == []
    assert held(busy, kept) == ["busy", "kept"]


async def test_all_who_wait_share_one_load_and_one_who_leaves_does_not_end_it() -> None:
    shop = Shop()
    a = shop.model("a")
    shop.hold.clear()
    first, *rest = [asyncio.create_task(a.back()) for _ in range(20)]
    while not shop.loads:
        await asyncio.sleep(0)
    first.cancel()
    shop.hold.set()
    assert await asyncio.gather(*rest) == [{"primary": "a"}] * 19
    assert shop.loads == ["a"]


async def test_a_load_that_fails_fails_all_who_wait_and_is_tried_again_by_the_next() -> None:
    shop = Shop()
    broken = [True]

    async def fetch() -> Mapping[str, bytes]:
        if broken[0]:
            raise Unavailable("the store is away")
        return {}

    resident: Resident[str] = Resident("a", shop.memory, fetch=fetch, build=lambda contents: {"primary": "a"})
    found = await asyncio.gather(resident.back(), resident.back(), return_exceptions=True)
    assert all(isinstance(each, Unavailable) for each in found)
    broken[0] = False
    assert await resident.back() == {"primary": "a"}


async def test_the_time_of_a_cold_start_is_measured() -> None:
    shop = Shop()
    a = shop.model("a")
    shop.hold.clear()
    load = asyncio.create_task(a.back())
    while not shop.loads:
        await asyncio.sleep(0)
    shop.clock.advance(2.5)
    shop.hold.set()
    await load
    assert a.cold_seconds == 2.5


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 10), min_size=1, max_size=6),
    calls=st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["use", "enter", "leave", "wait"])), max_size=40),
)
def test_the_budget_holds_and_users_keep_their_graphs_through_any_history(
    sizes: list[int], calls: list[tuple[int, str]]
) -> None:
    async def history() -> None:
        shop = Shop(budget=12, idle_seconds=10, patience=0.001)
        models = [shop.model(str(place), size) for place, size in enumerate(sizes)]
        for place, act in calls:
            each = models[place % len(models)]
            if act == "wait":
                shop.clock.advance(6)
                shop.memory.sweep()
            elif act == "leave" and each.users:
                each.leave()
            elif act in ("use", "enter"):
                try:
                    await each.back()
                except Unavailable:
                    continue
                each.enter()
                if act == "use":
                    each.leave()
            assert all(m.graphs is not None for m in models if m.users)
            assert sum(m.bytes for m in models if m.graphs is not None) == shop.memory.used <= 12

    asyncio.run(history())


async def test_a_served_model_scales_to_zero_and_back(bench: Bench, ctx: Context, customer: dict[str, Any]) -> None:
    await bench.register("a", 0.7)
    service = bench.serving(memory=MemoryLimits(idle_seconds=3600))
    await service.start()
    try:
        loads = len(bench.runtime.loads)
        bench.clock.advance(3601)
        assert service._memory.sweep() == ["churn"]
        [state] = await service.index(ctx)
        assert (state.state, state.bytes) == ("IDLE", 0)
        assert await service.ready(ctx, "churn")
        answers = await asyncio.gather(*(service.predict(ctx, "churn", [customer]) for _ in range(10)))
        assert {each.served_by for each in answers} == {"primary"}
        assert len(bench.runtime.loads) == loads + 2
        status = (await service.describe(ctx, "churn")).memory
        assert status is not None
        assert (status.loaded, status.cold_start_seconds is not None, status.bytes > 0) == (True, True, True)
    finally:
        await service.stop()


async def test_a_cold_start_that_fails_leaves_the_answer_to_the_rungs_below(
    bench: Bench, ctx: Context, customer: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.register("a", 0.7)
    service = bench.serving(memory=MemoryLimits(idle_seconds=60))
    await service.start()
    try:
        bench.clock.advance(61)
        service._memory.sweep()

        def broken(*arguments: Any, **named: Any) -> Any:
            raise StanchionError("no engine")

        monkeypatch.setattr(bench.runtime, "load", broken)
        answer = await service.predict(ctx, "churn", [{**customer, "months": 30}])
        assert (answer.served_by, list(answer.tried)) == ("rule", ["primary", "simple"])
    finally:
        await service.stop()


async def test_an_unloaded_model_is_answered_by_its_rule_until_it_is_loaded(
    bench: Bench, ctx: Context, customer: dict[str, Any]
) -> None:
    await bench.register("a", 0.7)
    service = bench.serving()
    await service.start()
    try:
        assert (await service.unload(ctx, "churn")).state == "UNAVAILABLE"
        assert not await service.ready(ctx, "churn")
        assert (await service.predict(ctx, "churn", [{**customer, "months": 30}])).served_by == "rule"
        for _ in range(30):
            assert (await service.predict(ctx, "churn", [customer])).served_by == "default"
        state = await service.load(ctx, "churn")
        assert (state.state, state.version) == ("READY", "1.0.0")
        assert (await service.predict(ctx, "churn", [customer])).served_by == "primary"
        assert await service.ready(ctx, "churn")
    finally:
        await service.stop()


async def test_a_newer_version_comes_into_service_in_place_of_an_unloaded_one(
    bench: Bench, ctx: Context, customer: dict[str, Any]
) -> None:
    await bench.register("a", 0.7)
    service = bench.serving()
    await service.start()
    try:
        await service.unload(ctx, "churn")
        await bench.register("b", 0.9)
        await service._shelf.refresh("churn")
        assert (await service.predict(ctx, "churn", [customer])).served_by == "primary"
    finally:
        await service.stop()


async def test_a_python_function_has_nothing_to_unload(bench: Bench, ctx: Context) -> None:
    async def add(items: Any) -> Any:
        return items

    service = bench.serving(bench.spec(function=add))
    with pytest.raises(Conflict):
        await service.unload(ctx, "churn")
    assert (await service.load(ctx, "churn")).state == "READY"
    await service.stop()
