"""A drill strikes its rung and nothing else, for its time and not longer, and everybody can see it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from stanchion.core.context import Context
from stanchion.core.errors import InvalidInput, Unavailable
from stanchion.serving.drill.faults import Fault, Faults
from stanchion.serving.module import MODULE
from stanchion.serving.releases import ReleaseLimits


@pytest.fixture
async def service(bench: Any) -> AsyncIterator[Any]:
    await bench.database.prepare(MODULE.schema())
    made = bench.serving(database=bench.database, releases=ReleaseLimits(poll=3600))
    await bench.register("one", 0.3, promote=True)
    await made.start()
    yield made
    await made.stop()


async def served(service: Any, ctx: Context, customer: dict[str, Any], calls: int) -> list[str]:
    return [(await service.predict(ctx, "churn", [customer])).served_by for _ in range(calls)]


async def test_a_struck_rung_hands_over_and_recovers_when_the_drill_ends(
    bench: Any, service: Any, ctx: Context, customer: dict[str, Any]
) -> None:
    drill = await service.begin_drill(ctx, "churn", "primary", seconds=30)
    assert (drill.mode, drill.share, drill.begun_by) == ("error", 1.0, "ada")
    assert await served(service, ctx, customer, 10) == ["simple"] * 10
    bench.clock.advance(30)
    # The breaker had opened; its probes and its steps bring the traffic back.
    recovered = await served(service, ctx, customer, 400)
    assert recovered[0] == "primary"
    assert set(recovered[-50:]) == {"primary"}
    assert 0 < recovered.count("simple") < 250


async def test_all_rungs_but_the_default_may_fail_and_every_call_is_answered(
    service: Any, ctx: Context, customer: dict[str, Any]
) -> None:
    for rung in ("primary", "simple", "rule"):
        await service.begin_drill(ctx, "churn", rung)
    assert await served(service, ctx, customer, 5) == ["default"] * 5
    await service.begin_drill(ctx, "churn", "default")
    with pytest.raises(Unavailable):
        await service.predict(ctx, "churn", [customer])
    assert await service.end_drills(ctx, "churn") == 4
    assert set(await served(service, ctx, customer, 3)) <= {"primary", "rule", "default"}


async def test_a_share_is_struck_evenly(bench: Any, ctx: Context) -> None:
    faults = Faults(bench.clock)
    faults.put("t1", "churn", "primary", Fault("d", "error", 0.25, 1.0, bench.clock.monotonic() + 10))
    struck = []
    for _ in range(40):
        try:
            await faults.strike(ctx, "churn", "primary", limit=1.0)
            struck.append(0)
        except Unavailable:
            struck.append(1)
    assert sum(struck) == 10
    assert all(sum(struck[place : place + 4]) == 1 for place in range(0, 40, 4))


async def test_another_tenant_model_and_rung_are_left_alone(bench: Any, ctx: Context, stranger: Context) -> None:
    faults = Faults(bench.clock)
    faults.put("t1", "churn", "primary", Fault("d", "error", 1.0, 1.0, bench.clock.monotonic() + 10))
    await faults.strike(stranger, "churn", "primary", limit=1.0)
    await faults.strike(ctx, "other", "primary", limit=1.0)
    await faults.strike(ctx, "churn", "simple", limit=1.0)
    bench.clock.advance(10)
    await faults.strike(ctx, "churn", "primary", limit=1.0)
    assert not faults.any


async def test_a_slow_and_a_hanging_rung_hold_a_call_no_longer_than_its_limit(
    bench: Any, service: Any, ctx: Context, customer: dict[str, Any]
) -> None:
    from stanchion.core.errors import DeadlineExceeded

    faults = Faults(bench.clock)
    faults.put("t1", "churn", "primary", Fault("d", "slow", 1.0, 0.001, bench.clock.monotonic() + 10))
    await faults.strike(ctx, "churn", "primary", limit=1.0)
    faults.put("t1", "churn", "primary", Fault("e", "hang", 1.0, 1.0, bench.clock.monotonic() + 10))
    with pytest.raises(DeadlineExceeded):
        await faults.strike(ctx, "churn", "primary", limit=0.001)


async def test_other_processes_follow_and_a_drill_needs_no_database_to_end(
    bench: Any, service: Any, ctx: Context, customer: dict[str, Any]
) -> None:
    other = bench.serving(database=bench.database, releases=ReleaseLimits(poll=3600))
    await other.start()
    await service.begin_drill(ctx, "churn", "primary", seconds=20)
    assert other._releases is not None
    await other._releases.conductor.tick()
    assert await served(other, ctx, customer, 2) == ["simple", "simple"]
    bench.clock.advance(20)
    assert await served(other, ctx, customer, 2) == ["primary", "primary"]
    await other.stop()


async def test_drills_are_listed_and_checked(service: Any, ctx: Context, stranger: Context) -> None:
    await service.begin_drill(ctx, "churn", "simple", seconds=5)
    await service.begin_drill(ctx, "churn", "simple", mode="slow", seconds=60, share=0.5)
    listed = await service.drills(ctx)
    assert [(each.mode, each.ends > each.begins) for each in listed] == [("slow", True), ("error", False)]
    assert list(await service.drills(stranger)) == []
    for changes in (
        {"rung": "attic"},
        {"seconds": 601},
        {"seconds": 0},
        {"share": 0},
        {"share": 1.5},
        {"delay": 0},
        {"model": "churn@1.0.0"},
    ):
        given = {"model": "churn", "rung": "primary", **changes}
        with pytest.raises(InvalidInput):
            await service.begin_drill(ctx, given.pop("model"), given.pop("rung"), **given)
