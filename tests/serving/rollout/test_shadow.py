"""A shadow is asked in the background; it never delays, changes or fails an answer, and what it says is compared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stanchion.core.context import Context
from stanchion.serving import Guard, RolloutPlan, RolloutStep

SHADOW = RolloutPlan("shadow", steps=(RolloutStep(0, 1, 10),), guards=(Guard("drift", 0.3),))
GREEN = RolloutPlan("blue_green", steps=(RolloutStep(0, 1, 10),), guards=(Guard("errors", 0.9),))


async def test_both_versions_answer_and_only_one_is_heard(
    staged: Any, bench: Any, ctx: Context, customer: dict[str, Any]
) -> None:
    await staged.service.start_rollout(ctx, "churn", "1.1.0", SHADOW)
    await staged.tick()
    answers = await staged.ask(ctx, customer, 20)
    await staged.mirrored()
    assert {(each.version, each.arm) for each in answers} == {("1.0.0", "control")}
    await staged.tick()
    report = await staged.service.rollout(ctx, "churn")
    assert [(arm.name, arm.requests, arm.failures) for arm in report.arms] == [("control", 20, 0), ("shadow", 20, 0)]
    assert (report.compared, report.disagreements, report.dropped) == (20, 20, 0)
    assert report.mean_difference == pytest.approx(0.1)
    assert len(report.differences) == 20
    worst = report.differences[0]
    assert '"probability":0.3' in worst.control
    assert '"probability":0.4' in worst.candidate
    assert report.rollout.state == "finished"
    assert "distance 1.000" in report.rollout.reason


async def test_a_shadow_that_fails_or_hangs_costs_nobody_anything(
    staged: Any, bench: Any, ctx: Context, customer: dict[str, Any]
) -> None:
    await staged.service.start_rollout(ctx, "churn", "1.1.0", replace(SHADOW, guards=(), failure_budget=15))
    await staged.tick()
    for name in ("two", "two-simple"):
        bench.runtime.graphs[name].fault = RuntimeError("broken")
    answers = await staged.ask(ctx, customer, 20)
    assert {each.served_by for each in answers} == {"primary"}
    await staged.mirrored()
    await staged.tick()
    report = await staged.service.rollout(ctx, "churn")
    assert report.rollout.state == "rolled_back"
    assert "failed 20 calls; its budget is 15" in report.rollout.reason


async def test_what_finds_the_queue_full_is_dropped_and_counted(
    staged: Any, ctx: Context, customer: dict[str, Any]
) -> None:
    await staged.releases.mirror.stop()
    await staged.service.start_rollout(ctx, "churn", "1.1.0", SHADOW)
    await staged.tick()
    answers = await staged.ask(ctx, customer, 70)
    assert len(answers) == 70
    await staged.tick()
    report = await staged.service.rollout(ctx, "churn")
    assert report.dropped == 6
    staged.releases.mirror.start()
    await staged.mirrored()


async def test_only_the_declared_share_is_shown(staged: Any, ctx: Context, customer: dict[str, Any]) -> None:
    await staged.service.start_rollout(ctx, "churn", "1.1.0", replace(SHADOW, share=0.25))
    await staged.tick()
    for _ in range(10):
        await staged.ask(ctx, customer, 40)
        await staged.mirrored()
    await staged.releases.conductor.tick()
    report = await staged.service.rollout(ctx, "churn")
    assert report.compared == pytest.approx(100, abs=45)


async def test_green_is_checked_in_the_shadow_then_everything_switches_at_once(
    staged: Any, bench: Any, ctx: Context, customer: dict[str, Any]
) -> None:
    await staged.service.start_rollout(ctx, "churn", "1.1.0", GREEN)
    await staged.tick()
    before = await staged.ask(ctx, customer, 20)
    await staged.mirrored()
    for _ in range(3):
        await staged.tick()
    assert {(each.version, each.arm) for each in before} == {("1.0.0", "blue")}
    assert (await staged.service.rollout(ctx, "churn")).rollout.state == "promoted"
    assert await staged.service._shelf.refresh("churn")
    assert {each.version for each in await staged.ask(ctx, customer, 20)} == {"1.1.0"}
    assert bench.runtime.loads == ["one", "one-simple", "two", "two-simple"]
    back = await staged.service.roll_back_rollout(ctx, "churn", reason="a partner complains")
    assert back.state == "rolled_back"
    assert await staged.service._shelf.refresh("churn")
    assert {each.version for each in await staged.ask(ctx, customer, 20)} == {"1.0.0"}


async def test_a_call_with_several_instances_is_compared_by_each(
    staged: Any, ctx: Context, customer: dict[str, Any]
) -> None:
    await staged.service.start_rollout(ctx, "churn", "1.1.0", SHADOW)
    await staged.tick()
    await staged.service.predict(ctx, "churn", [customer, {"months": 1}, customer])
    await staged.mirrored()
    await staged.tick()
    report = await staged.service.rollout(ctx, "churn")
    assert (report.compared, report.disagreements) == (2, 2)
    assert [arm.requests for arm in report.arms] == [1, 1]
