"""A canary takes its share step by step, and is promoted or taken back by itself, saying why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stanchion.core.context import Context
from stanchion.core.errors import Conflict, InvalidInput, NotFound
from stanchion.serving import Guard, RolloutPlan, RolloutStep


async def test_a_sound_version_is_promoted_step_by_step(
    staged: Any, bench: Any, ctx: Context, customer: dict[str, Any], plan: RolloutPlan
) -> None:
    started = await staged.service.start_rollout(ctx, "churn", "1.1.0", plan)
    assert (started.state, started.control, started.candidate, started.percent) == ("running", "1.0.0", "1.1.0", 20)
    await staged.tick()
    shares = []
    for _ in range(4):
        answers = await staged.ask(ctx, customer, 200)
        shares.append(sum(each.arm == "canary" for each in answers) / 200)
        assert {each.version for each in answers if each.arm == "canary"} <= {"1.1.0"}
        await staged.tick()
        await staged.tick()
    report = await staged.service.rollout(ctx, "churn")
    assert report.rollout.state == "promoted", report.rollout.reason
    assert shares[0] == pytest.approx(0.2, abs=0.1)
    assert shares[1] == pytest.approx(0.5, abs=0.15)
    assert (await bench.registry.resolve(ctx, "churn")).version == "1.1.0"
    [promotion, *_] = await bench.registry.promotions(ctx, "churn")
    assert started.id in promotion.evidence
    assert "errors 0.00%" in promotion.evidence
    assert [event.state for event in report.history] == ["promoted", "promoting", "running", "running"]


async def test_a_failing_version_is_taken_back_within_its_budget_and_no_call_fails(
    staged: Any, bench: Any, ctx: Context, customer: dict[str, Any], plan: RolloutPlan
) -> None:
    await staged.service.start_rollout(ctx, "churn", "1.1.0", replace(plan, failure_budget=10))
    await staged.tick()
    bench.runtime.graphs["two"].fault = RuntimeError("broken")
    bench.runtime.graphs["two-simple"].fault = RuntimeError("broken too")
    answers = await staged.ask(ctx, customer, 400)
    assert sum(each.version == "1.1.0" for each in answers) == 10
    await staged.tick()
    report = await staged.service.rollout(ctx, "churn")
    assert report.rollout.state == "rolled_back"
    assert "failed 10 calls; its budget is 10" in report.rollout.reason
    answers = await staged.ask(ctx, customer, 100)
    assert {each.arm for each in answers} == {""}
    assert {each.version for each in answers} == {"1.0.0"}


async def test_a_worse_version_is_taken_back_by_its_guard(
    staged: Any, bench: Any, ctx: Context, customer: dict[str, Any], plan: RolloutPlan
) -> None:
    await staged.service.start_rollout(ctx, "churn", "1.1.0", replace(plan, failure_budget=1000))
    await staged.tick()
    bench.runtime.graphs["two"].fault = RuntimeError("broken")
    await staged.ask(ctx, customer, 300)
    await staged.tick()
    report = await staged.service.rollout(ctx, "churn")
    assert report.rollout.state == "rolled_back"
    assert "1.1.0 is worse than 1.0.0: errors 100.00% against 0.00%" in report.rollout.reason


async def test_a_call_that_the_new_version_cannot_answer_is_answered_by_the_present_one(
    staged: Any, bench: Any, ctx: Context, customer: dict[str, Any], plan: RolloutPlan
) -> None:
    service = staged.service
    service._shelf._specs["churn"] = replace(service._shelf._specs["churn"], rule=None, default=None)
    await service.start_rollout(ctx, "churn", "1.1.0", replace(plan, steps=(RolloutStep(100, 1, 20),)))
    await staged.tick()
    bench.runtime.graphs["two"].fault = RuntimeError("broken")
    bench.runtime.graphs["two-simple"].fault = RuntimeError("broken too")
    answers = await staged.ask(ctx, customer, 40)
    assert {each.version for each in answers} == {"1.0.0"}
    assert {each.served_by for each in answers} == {"primary"}


async def test_a_paused_canary_gets_nothing_and_goes_on_where_it_was(
    staged: Any, ctx: Context, customer: dict[str, Any], plan: RolloutPlan
) -> None:
    await staged.service.start_rollout(ctx, "churn", "1.1.0", plan)
    await staged.tick()
    paused = await staged.service.pause_rollout(ctx, "churn", reason="lunch")
    assert (paused.state, paused.percent, paused.reason) == ("paused", 0.0, "lunch")
    await staged.tick()
    assert {each.version for each in await staged.ask(ctx, customer, 100)} == {"1.0.0"}
    with pytest.raises(Conflict):
        await staged.service.pause_rollout(ctx, "churn")
    assert (await staged.service.resume_rollout(ctx, "churn")).percent == 20
    await staged.tick()
    assert {each.version for each in await staged.ask(ctx, customer, 100)} == {"1.0.0", "1.1.0"}


async def test_an_aborted_canary_leaves_everything_as_it_was(
    staged: Any, bench: Any, ctx: Context, customer: dict[str, Any], plan: RolloutPlan
) -> None:
    await staged.service.start_rollout(ctx, "churn", "1.1.0", plan)
    with pytest.raises(InvalidInput):
        await staged.service.abort_rollout(ctx, "churn", reason=" ")
    await staged.service.abort_rollout(ctx, "churn", reason="not today")
    await staged.tick()
    assert {each.version for each in await staged.ask(ctx, customer, 50)} == {"1.0.0"}
    assert (await bench.registry.resolve(ctx, "churn")).version == "1.0.0"
    with pytest.raises(Conflict):
        await staged.service.abort_rollout(ctx, "churn", reason="again")


async def test_a_promoted_version_is_taken_back_in_one_call(
    staged: Any, bench: Any, ctx: Context, customer: dict[str, Any], plan: RolloutPlan
) -> None:
    await staged.service.start_rollout(ctx, "churn", "1.1.0", plan)
    await staged.service.promote_rollout(ctx, "churn", evidence="looked well on the dashboard")
    back = await staged.service.roll_back_rollout(ctx, "churn", reason="complaints")
    assert (back.state, back.percent) == ("rolled_back", 0.0)
    assert (await bench.registry.resolve(ctx, "churn")).version == "1.0.0"


async def test_the_former_version_is_kept_warm_after_a_promotion(
    staged: Any, bench: Any, ctx: Context, customer: dict[str, Any], plan: RolloutPlan
) -> None:
    await staged.service.start_rollout(ctx, "churn", "1.1.0", replace(plan, keep=100))
    await staged.tick()
    await staged.service.promote_rollout(ctx, "churn")
    await staged.tick()
    assert await staged.service._shelf.refresh("churn")
    assert (await staged.ask(ctx, customer))[0].version == "1.1.0"
    assert sorted(bench.runtime.loads) == ["one", "one-simple", "two", "two-simple"]
    assert staged.service._shelf.ready("t1", "churn@1.0.0") is not None
    await staged.service.roll_back_rollout(ctx, "churn", reason="complaints")
    assert await staged.service._shelf.refresh("churn")
    assert (await staged.ask(ctx, customer))[0].version == "1.0.0"
    assert sorted(bench.runtime.loads) == ["one", "one-simple", "two", "two-simple"]
    await staged.tick(200)
    assert staged.service._shelf.ready("t1", "churn@1.0.0") is None


async def test_another_version_in_production_ends_the_rollout(
    staged: Any, bench: Any, ctx: Context, plan: RolloutPlan
) -> None:
    await staged.service.start_rollout(ctx, "churn", "1.1.0", plan)
    await bench.register("three", 0.5, promote=True)
    await staged.tick()
    report = await staged.service.rollout(ctx, "churn")
    assert (report.rollout.state, report.rollout.reason) == ("aborted", "1.2.0 went into production meanwhile")


async def test_an_undecided_rollout_is_taken_back(staged: Any, ctx: Context, plan: RolloutPlan) -> None:
    await staged.service.start_rollout(ctx, "churn", "1.1.0", replace(plan, most=60))
    await staged.tick(61)
    report = await staged.service.rollout(ctx, "churn")
    assert report.rollout.state == "rolled_back"
    assert "undecided after 60 s" in report.rollout.reason


async def test_a_guard_that_needs_proof_holds_the_promotion_until_it_is_given(
    staged: Any, ctx: Context, customer: dict[str, Any], plan: RolloutPlan
) -> None:
    strict = replace(plan, steps=(RolloutStep(50, 1, 5),), guards=(Guard("errors", 0.05, proof=True),))
    await staged.service.start_rollout(ctx, "churn", "1.1.0", strict)
    await staged.tick()
    await staged.ask(ctx, customer, 30)
    await staged.tick(5)
    assert (await staged.service.rollout(ctx, "churn")).rollout.state == "running"
    await staged.ask(ctx, customer, 1200)
    await staged.tick()
    await staged.tick()
    report = await staged.service.rollout(ctx, "churn")
    assert report.rollout.state == "promoted"
    assert [guard.verdict for guard in report.guards] == ["harmless"]


async def test_what_makes_no_sense_is_refused(staged: Any, bench: Any, ctx: Context, plan: RolloutPlan) -> None:
    start = staged.service.start_rollout
    with pytest.raises(NotFound):
        await start(ctx, "churn", "9.0.0", plan)
    with pytest.raises(NotFound):
        await start(ctx, "nowhere", "1.0.0", plan)
    with pytest.raises(Conflict):
        await start(ctx, "churn", "1.0.0", plan)
    for wrong in (
        replace(plan, steps=(RolloutStep(50), RolloutStep(10))),
        replace(plan, steps=(RolloutStep(0),)),
        replace(plan, kind="shadow"),
        replace(plan, alpha=0.9),
        replace(plan, share=0.0),
        replace(plan, guards=(Guard("slow", 0.1),)),
        replace(plan, guards=(Guard("errors", -1),)),
        replace(plan, failure_budget=0),
    ):
        with pytest.raises(InvalidInput) as caught:
            await start(ctx, "churn", "1.1.0", wrong)
        assert caught.value.fields[0].path.startswith("$.plan.")
    await start(ctx, "churn", "1.1.0", plan)
    with pytest.raises(Conflict):
        await start(ctx, "churn", "1.1.0", plan)
    with pytest.raises(NotFound):
        await staged.service.rollout(ctx, "nowhere")


async def test_another_tenant_sees_and_changes_nothing(
    staged: Any, ctx: Context, stranger: Context, plan: RolloutPlan
) -> None:
    await staged.service.start_rollout(ctx, "churn", "1.1.0", plan)
    assert list(await staged.service.rollouts(stranger)) == []
    for call in (
        staged.service.rollout(stranger, "churn"),
        staged.service.abort_rollout(stranger, "churn", reason="x"),
        staged.service.roll_back_rollout(stranger, "churn", reason="x"),
    ):
        with pytest.raises(NotFound):
            await call


async def test_units_stick_to_their_arm_in_an_ab_test(
    staged: Any, ctx: Context, customer: dict[str, Any], plan: RolloutPlan
) -> None:
    from stanchion.serving import PredictOptions

    ab = replace(plan, kind="ab", steps=(RolloutStep(50, 0, 0),))
    await staged.service.start_rollout(ctx, "churn", "1.1.0", ab)
    await staged.tick()

    async def arm(unit: str) -> str:
        answer = await staged.service.predict(ctx, "churn", [customer], options=PredictOptions(unit=unit))
        return str(answer.arm)

    first = [await arm(f"user-{number}") for number in range(200)]
    assert first == [await arm(f"user-{number}") for number in range(200)]
    assert first.count("b") == pytest.approx(100, abs=30)
    await staged.tick(1000)
    report = await staged.service.rollout(ctx, "churn")
    assert report.rollout.state == "running"
    assert [(each.name, each.version) for each in report.arms] == [("a", "1.0.0"), ("b", "1.1.0")]
    assert sum(each.requests for each in report.arms) == 400
    assert report.sample_ratio > 1e-4
    assert {effect.metric for effect in report.effects} == {"errors", "latency"}
    assert all(effect.low <= effect.difference <= effect.high for effect in report.effects)


async def test_what_was_rolled_back_in_the_registry_is_only_told(
    staged: Any, bench: Any, ctx: Context, plan: RolloutPlan
) -> None:
    await staged.service.start_rollout(ctx, "churn", "1.1.0", plan)
    await staged.service.promote_rollout(ctx, "churn")
    await bench.registry.rollback(ctx, "churn", reason="complaints")
    back = await staged.service.roll_back_rollout(ctx, "churn", reason="as in the registry")
    assert (back.state, back.reason) == ("rolled_back", "1.0.0 is back: as in the registry")
    assert (await bench.registry.resolve(ctx, "churn")).version == "1.0.0"
