"""The contract of Rollouts and Drills as tests: subclass `RolloutsSuite` and give it a staged system.

The system is in development mode, permits the tenants `t1` and `t2` all, and serves the model `churn` to `t1`: version
1.0.0 in production, 1.1.0 beside it, of the same interface; `INSTANCE` is one that both answer.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from stanchion.core.context import Context, Rights
from stanchion.core.errors import Conflict, InvalidInput, NotFound
from stanchion.serving import Guard, RolloutPlan, RolloutStep, Serving

MODEL, PRESENT, NEW = "churn", "1.0.0", "1.1.0"
CANARY = RolloutPlan(
    "canary", (RolloutStep(10, 3600, 1000), RolloutStep(50, 3600, 1000)), guards=(Guard("errors", 0.1),)
)
SHADOW = RolloutPlan("shadow")


def caller(principal: str = "ada", tenant: str = "t1") -> Context:
    """A caller with every right."""
    return Context(tenant=tenant, principal=principal, rights=Rights(frozenset({"admin"}), frozenset({"*"})))


ADA, STRANGER = caller(), caller("eve", "t2")


class RolloutsSuite:
    """Override the async fixture `serving`."""

    @pytest.fixture
    def serving(self) -> Serving:
        raise NotImplementedError("override the fixture `serving`")

    async def test_a_rollout_begins_as_its_plan_says(self, serving: Serving) -> None:
        begun = await serving.start_rollout(ADA, MODEL, NEW, CANARY)
        assert (begun.state, begun.control, begun.candidate, begun.step) == ("running", PRESENT, NEW, 0)
        assert (begun.percent, begun.started_by, begun.revision) == (10.0, "ada", 1)
        assert begun.plan == CANARY
        report = await serving.rollout(ADA, MODEL)
        assert report.rollout == begun
        assert [event.state for event in report.history] == ["running"]
        assert [arm.requests for arm in report.arms] == [0, 0]
        assert [guard.verdict for guard in report.guards] == ["open"]

    async def test_it_is_paused_resumed_and_aborted_with_its_reasons(self, serving: Serving) -> None:
        await serving.start_rollout(ADA, MODEL, NEW, CANARY)
        paused = await serving.pause_rollout(ADA, MODEL, reason="lunch")
        assert (paused.state, paused.percent) == ("paused", 0.0)
        resumed = await serving.resume_rollout(ADA, MODEL, reason="back")
        assert (resumed.state, resumed.percent) == ("running", 10.0)
        aborted = await serving.abort_rollout(ADA, MODEL, reason="not today")
        assert aborted.ended_at is not None
        history = (await serving.rollout(ADA, MODEL)).history
        assert [(event.state, event.reason) for event in history] == [
            ("aborted", "not today"),
            ("running", "back"),
            ("paused", "lunch"),
            ("running", "started"),
        ]

    async def test_a_state_admits_only_what_makes_sense_in_it(self, serving: Serving) -> None:
        await serving.start_rollout(ADA, MODEL, NEW, CANARY)
        with pytest.raises(Conflict):
            await serving.resume_rollout(ADA, MODEL)
        with pytest.raises(Conflict):
            await serving.approve_rollout(ADA, MODEL)
        with pytest.raises(Conflict):
            await serving.start_rollout(ADA, MODEL, NEW, SHADOW)
        await serving.abort_rollout(ADA, MODEL, reason="over")
        with pytest.raises(Conflict):
            await serving.pause_rollout(ADA, MODEL)
        with pytest.raises(Conflict):
            await serving.promote_rollout(ADA, MODEL)

    async def test_a_promotion_by_hand_is_taken_back_by_hand(self, serving: Serving) -> None:
        await serving.start_rollout(ADA, MODEL, NEW, CANARY)
        promoted = await serving.promote_rollout(ADA, MODEL, evidence="compared")
        assert (promoted.state, promoted.percent) == ("promoted", 100.0)
        back = await serving.roll_back_rollout(ADA, MODEL, reason="complaints")
        assert (back.state, back.percent) == ("rolled_back", 0.0)
        with pytest.raises(Conflict):
            await serving.roll_back_rollout(ADA, MODEL, reason="again")

    async def test_a_plan_that_makes_no_sense_is_refused_with_its_place(self, serving: Serving) -> None:
        for wrong in (
            replace(CANARY, alpha=0.0),
            replace(CANARY, steps=(RolloutStep(101),)),
            replace(SHADOW, share=2.0),
        ):
            with pytest.raises(InvalidInput) as caught:
                await serving.start_rollout(ADA, MODEL, NEW, wrong)
            assert caught.value.fields[0].path.startswith("$.plan.")
        with pytest.raises(InvalidInput):
            await serving.start_rollout(ADA, f"{MODEL}@{NEW}", NEW, CANARY)
        with pytest.raises(Conflict):
            await serving.start_rollout(ADA, MODEL, PRESENT, CANARY)

    async def test_what_does_not_exist_is_not_found(self, serving: Serving) -> None:
        for call in (
            serving.rollout(ADA, MODEL),
            serving.rollout(ADA, "nowhere"),
            serving.pause_rollout(ADA, "nowhere"),
            serving.start_rollout(ADA, MODEL, "9.9.9", CANARY),
            serving.start_rollout(ADA, "nowhere", NEW, CANARY),
        ):
            with pytest.raises(NotFound):
                await call

    async def test_rollouts_are_listed_the_newest_first(self, serving: Serving) -> None:
        first = await serving.start_rollout(ADA, MODEL, NEW, CANARY)
        await serving.abort_rollout(ADA, MODEL, reason="over")
        second = await serving.start_rollout(ADA, MODEL, NEW, SHADOW)
        assert [each.id for each in await serving.rollouts(ADA)] == [second.id, first.id]
        assert [each.id for each in await serving.rollouts(ADA, model=MODEL, limit=1)] == [second.id]
        assert list(await serving.rollouts(ADA, model="nowhere")) == []
        assert (await serving.rollout(ADA, MODEL, rollout=first.id)).rollout.state == "aborted"
        for limit in (0, 101):
            with pytest.raises(InvalidInput):
                await serving.rollouts(ADA, limit=limit)

    async def test_another_tenant_finds_nothing_of_it(self, serving: Serving) -> None:
        await serving.start_rollout(ADA, MODEL, NEW, CANARY)
        await serving.begin_drill(ADA, MODEL, "primary")
        assert list(await serving.rollouts(STRANGER)) == []
        assert list(await serving.drills(STRANGER)) == []
        with pytest.raises(NotFound):
            await serving.rollout(STRANGER, MODEL)
        with pytest.raises(NotFound):
            await serving.abort_rollout(STRANGER, MODEL, reason="mine now")
        assert await serving.end_drills(STRANGER, MODEL) == 0

    async def test_a_drill_is_bounded_listed_and_ended(self, serving: Serving) -> None:
        begun = await serving.begin_drill(ADA, MODEL, "simple", mode="slow", share=0.5, seconds=60, delay=0.1)
        assert (begun.ends - begun.begins).total_seconds() == 60
        [listed] = await serving.drills(ADA)
        assert listed == begun
        for seconds in (0.0, 601.0):
            with pytest.raises(InvalidInput):
                await serving.begin_drill(ADA, MODEL, "simple", seconds=seconds)
        with pytest.raises(InvalidInput):
            await serving.begin_drill(ADA, MODEL, "cellar")
        assert await serving.end_drills(ADA, MODEL) == 1
        assert await serving.end_drills(ADA, MODEL) == 0
