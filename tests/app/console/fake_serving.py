"""Served models with a canary under way and a drill, as the console sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from stanchion.core.context import Context
from stanchion.core.errors import Conflict, NotFound
from stanchion.serving import (
    Arm,
    ArmEffect,
    BatchJob,
    BatchOrder,
    Difference,
    Drill,
    GuardStatus,
    ModelQuality,
    Rollout,
    RolloutEvent,
    RolloutPlan,
    RolloutReport,
    RolloutState,
    RolloutStep,
    ServedModel,
    Serving,
)
from tests.app.console.fake_batches import sample_quality
from tests.app.console.fake_features import NOW


@dataclass
class FakeServing(Serving):
    served: list[ServedModel]
    report: RolloutReport | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)
    jobs: list[BatchJob] = field(default_factory=list)
    told: ModelQuality | None = None

    async def rollouts(self, ctx: Context, *, model: str = "", limit: int = 50) -> Sequence[Rollout]:
        return [self.report.rollout] if self.report is not None and self.report.rollout.model == model else []

    async def rollout(self, ctx: Context, model: str, *, rollout: str = "") -> RolloutReport:
        if self.report is None or self.report.rollout.model != model:
            raise NotFound(f"there is no rollout of {model}")
        return self.report

    async def start_rollout(self, ctx: Context, model: str, version: str, plan: RolloutPlan) -> Rollout:
        self.asked.append(("start", f"{plan.kind} {version} {[step.percent for step in plan.steps]}"))
        if version == "2.1.2":
            raise Conflict("2.1.2 is archived")
        return sample_rollout(model, "running")

    async def pause_rollout(self, ctx: Context, model: str, *, reason: str = "") -> Rollout:
        self.asked.append(("pause", reason))
        return sample_rollout(model, "paused")

    async def abort_rollout(self, ctx: Context, model: str, *, reason: str) -> Rollout:
        self.asked.append(("abort", reason))
        return sample_rollout(model, "aborted")

    async def promote_rollout(self, ctx: Context, model: str, *, evidence: str = "") -> Rollout:
        self.asked.append(("promote", evidence))
        return sample_rollout(model, "pending")

    async def roll_back_rollout(self, ctx: Context, model: str, *, reason: str) -> Rollout:
        self.asked.append(("rollback", reason))
        return sample_rollout(model, "rolled_back")

    async def drills(self, ctx: Context, *, limit: int = 50) -> Sequence[Drill]:
        ends = NOW + timedelta(seconds=21)
        return [Drill("d1", m.model, "simple", "slow", 0.5, 1.0, NOW, ends, "key:ada") for m in self.served[:1]]

    async def quality(self, ctx: Context, model: str, *, days: int = 30) -> ModelQuality:
        return self.told or sample_quality(model)

    async def batches(self, ctx: Context, *, limit: int = 50) -> Sequence[BatchJob]:
        return self.jobs[:limit]

    async def batch_job(self, ctx: Context, job: str) -> BatchJob:
        for one in self.jobs:
            if one.id == job:
                return one
        raise NotFound(f"there is no batch job {job[:64]}")

    async def cancel_batch(self, ctx: Context, job: str) -> BatchJob:
        found = await self.batch_job(ctx, job)
        if found.state in ("done", "cancelled"):
            raise Conflict(f"the batch job {job} has ended already")
        self.asked.append(("cancel", job))
        return replace(found, state="cancelling" if found.state == "running" else "cancelled")

    async def submit_batch(self, ctx: Context, model: str, order: BatchOrder) -> BatchJob:
        self.asked.append(("submit", f"{model} {order.key[:8]} resume={order.resume}"))
        return next(each for each in self.jobs if each.key == order.key and each.model == model)

    async def models(self, ctx: Context) -> Sequence[ServedModel]:
        return self.served

    async def describe(self, ctx: Context, model: str) -> ServedModel:
        for one in self.served:
            if one.model == model:
                return one
        raise NotFound(f"no model {model!r}")


def sample_rollout(model: str, state: RolloutState) -> Rollout:
    plan = RolloutPlan("canary", (RolloutStep(5, 600, 200), RolloutStep(25, 600, 200)))
    reason = (
        "step 1 of 2 passed: 412 calls in 603 s; errors 0.24% against 0.21%, worse by at most 0.9% (tolerance 1.0%)"
    )
    return Rollout(
        "rollout-1", model, "canary", state, "2.1.3", "2.2.0", plan, 1, 25.0, NOW - timedelta(minutes=22), "key:ada",
        NOW - timedelta(minutes=11), reason, revision=2,
    )  # fmt: skip


def sample_report(model: str, state: RolloutState = "running") -> RolloutReport:
    rollout = sample_rollout(model, state)
    return RolloutReport(
        rollout=rollout,
        arms=[
            Arm("control", "2.1.3", 12_412, 26, 0.0031, 0.003, 0.0071, 310, 0.412),
            Arm("canary", "2.2.0", 4_133, 11, 0.0034, 0.0031, 0.008, 102, 0.431),
        ],
        guards=[
            GuardStatus("errors", 0.01, "harmless", 0.0021, 0.0027, -0.004, 0.006, 4_133),
            GuardStatus("latency", 0.5, "open", 0.0031, 0.0034, -0.02, 0.61, 4_122),
            GuardStatus("drift", 0.1, "harmful", 0.0, 0.21, 0.14, 0.29, 4_122),
        ],
        effects=[ArmEffect("errors", 0.0006, -0.004, 0.006, 1.0), ArmEffect("latency", 0.09, 0.01, 0.18, 0.021)],
        sample_ratio=0.84,
        compared=800,
        disagreements=31,
        mean_difference=0.012,
        dropped=4,
        differences=[Difference(NOW, "a1b2c3d4e5f60718293a4b5c", '{"prediction":"low"}', '{"prediction":"high"}', 1.0)],
        history=[
            RolloutEvent(rollout.changed_at, "running", 1, "system:rollout", rollout.reason),
            RolloutEvent(rollout.started_at, "running", 0, "key:ada", "started"),
        ],
    )
