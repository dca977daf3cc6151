"""A declared rollout begins by itself when a newer version reaches staging, once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from stanchion.core.context import Context
from stanchion.serving import Guard, Options, RolloutPlan, RolloutStep
from stanchion.system import blue_green, canary, shadow

from .conftest import Stage, process


@pytest.fixture
async def declared(bench: Any, plan: RolloutPlan) -> AsyncIterator[Stage]:
    await bench.register("one", 0.3, promote=True)
    spec = bench.spec(options=Options(rollout=plan))
    make = bench.serving
    bench.serving = lambda **changes: make(spec, **changes)
    async for stage in process(bench):
        await stage.service._follower.start()
        yield stage
        await stage.service._follower.stop()


async def test_it_begins_in_staging_and_not_before(declared: Stage, bench: Any, ctx: Context) -> None:
    await bench.register("two", 0.4)
    await declared.tick()
    assert list(await declared.service.rollouts(ctx)) == []
    await bench.registry.promote(ctx, "churn", "1.1.0", to="staging")
    await declared.tick()
    [begun] = await declared.service.rollouts(ctx)
    assert (begun.state, begun.candidate, begun.started_by) == ("running", "1.1.0", "system:rollout")


async def test_a_version_is_tried_once_and_a_replaced_one_is_no_new_one(
    declared: Stage, bench: Any, ctx: Context, customer: dict[str, Any]
) -> None:
    await bench.register("two", 0.4)
    await bench.registry.promote(ctx, "churn", "1.1.0", to="staging")
    await declared.tick()
    for _ in range(4):
        await declared.ask(ctx, customer, 150)
        await declared.tick()
        await declared.tick()
    # 1.0.0 went back to staging when 1.1.0 replaced it.
    assert (await bench.registry.resolve(ctx, "churn@staging")).version == "1.0.0"
    await bench.registry.rollback(ctx, "churn", reason="complaints")
    for _ in range(3):
        await declared.tick()
    assert [each.state for each in await declared.service.rollouts(ctx)] == ["promoted"]


def test_plans_are_written_in_a_word() -> None:
    assert [step.percent for step in canary().steps] == [1, 5, 25, 50]
    guarded = canary(10, 100, seconds=60, samples=50, guards=[Guard("slow", 0.01, limit=0.2)], failure_budget=5)
    assert guarded.steps == (RolloutStep(10, 60, 50), RolloutStep(100, 60, 50))
    assert (guarded.guards[0].limit, guarded.failure_budget) == (0.2, 5)
    assert blue_green(share=0.5).share == 0.5
    assert shadow().kind == "shadow"
    assert replace(shadow(approval="before"), approval="after") == shadow()
