"""Rollouts and drills over HTTP."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from ...core.context import Context
from ...core.http import context_of
from ..contract import Drill, Drills, Guard, Rollout, RolloutPlan, RolloutReport, Rollouts, RolloutStep
from ..contract.rollouts import GUARDS

Caller = Annotated[Context, Depends(context_of)]
ModelName = Annotated[str, Path(description="The name of a model.")]
Limit = Annotated[int, Query(ge=1, le=100, description="The most items to give.")]


class Body(BaseModel):
    """A request's body: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class StepBody(Body):
    """One step of a canary, or the only step of another kind."""

    percent: float = Field(0, ge=0, le=100, description="Share of the answers, 0 to 100; 0 for shadow and blue_green.")
    seconds: float = Field(600, ge=0, description="Least seconds of the step.")
    samples: int = Field(200, ge=0, description="Least calls that the new version must have answered in it.")


class GuardBody(Body):
    """What the new version may not do."""

    metric: Literal["errors", "latency", "slow", "drift", "outcome"]
    tolerance: float = Field(ge=0, description="How much worse is still acceptable.")
    limit: float = Field(0, ge=0, description="For `slow`: from how many seconds a call is slow.")
    proof: bool = Field(False, description="Promote only once it is shown to be within the tolerance.")


class RolloutRequest(Body):
    """A rollout to start. What is left out takes the usual value of the kind."""

    model: str = Field(description="The name of a model that has a version in production.")
    version: str = Field(description="The new version, such as 1.4.0.")
    kind: Literal["shadow", "blue_green", "canary", "ab"]
    steps: list[StepBody] = Field(default_factory=list, description="Empty: 1, 5, 25 and 50 percent for a canary.")
    share: float = Field(1.0, gt=0, le=1, description="Share of the calls that shadow and green are shown.")
    guards: list[GuardBody] | None = Field(None, description="null: errors within 1 %, latency within 50 %.")
    alpha: float = Field(0.05, gt=0, lt=0.5, description="Chance of calling a harmless version harmful.")
    failure_budget: int = Field(20, ge=1, description="Calls that the new version may fail in all.")
    automatic: bool = Field(True, description="Promote by itself once all steps have passed.")
    approval: Literal["after", "before"] = Field(
        "after", description="When a second person decides, outside development."
    )
    by: Literal["request", "unit"] = Field("request", description="What sticks to an arm.")
    keep: float = Field(3600, ge=0, description="Seconds for which the former version stays loaded.")
    most: float = Field(604_800, gt=0, description="Seconds after which an undecided rollout is taken back.")

    def plan(self) -> RolloutPlan:
        """The plan of the contract."""
        given = [Guard(**guard.model_dump()) for guard in self.guards] if self.guards is not None else GUARDS
        return RolloutPlan(
            kind=self.kind,
            steps=tuple(RolloutStep(**step.model_dump()) for step in self.steps),
            share=self.share,
            guards=tuple(given),
            alpha=self.alpha,
            failure_budget=self.failure_budget,
            automatic=self.automatic,
            approval=self.approval,
            by=self.by,
            keep=self.keep,
            most=self.most,
        )


class ReasonRequest(Body):
    """Why a rollout is changed."""

    reason: str = Field("", max_length=2000, description="Why; kept in the rollout's history.")


class EvidenceRequest(Body):
    """What is known besides the observed figures."""

    evidence: str = Field("", max_length=2000, description="Kept with the promotion, before the observed figures.")


class RolloutList(BaseModel):
    """Rollouts, the newest first."""

    data: list[Rollout]


class DrillRequest(Body):
    """A fault to make on purpose."""

    model: str
    rung: str = Field(description="primary, simple, rule, cached, default or human.")
    mode: Literal["error", "slow", "hang"] = "error"
    share: float = Field(1.0, gt=0, le=1, description="Share of the rung's calls that are struck.")
    seconds: float = Field(30.0, ge=1, le=600, description="How long it lasts.")
    delay: float = Field(1.0, gt=0, le=60, description="For `slow`: seconds that a call takes longer.")


class DrillList(BaseModel):
    """Drills, running ones first."""

    data: list[Drill]


class Ended(BaseModel):
    """How many drills were ended."""

    ended: int


def add_rollouts(api: APIRouter, rollouts: Rollouts) -> None:
    """Add the routes over a gated serving."""
    _looking(api, rollouts)
    _changing(api, rollouts)


def _looking(api: APIRouter, rollouts: Rollouts) -> None:
    @api.get("/v1/serving/rollouts")
    async def list_rollouts(
        ctx: Caller, model: Annotated[str, Query(description="Of this model alone.")] = "", limit: Limit = 50
    ) -> RolloutList:
        """Rollouts, the newest first."""
        return RolloutList(data=list(await rollouts.rollouts(ctx, model=model, limit=limit)))

    @api.get("/v1/serving/rollouts/{model}")
    async def show_rollout(
        ctx: Caller, model: ModelName, rollout: Annotated[str, Query(description="Its id; the newest if empty.")] = ""
    ) -> RolloutReport:
        """A model's rollout with its live guard metrics, effects, differences and history."""
        return await rollouts.rollout(ctx, model, rollout=rollout)


def _changing(api: APIRouter, rollouts: Rollouts) -> None:
    @api.post("/v1/serving/rollouts", status_code=201)
    async def start_rollout(ctx: Caller, body: RolloutRequest) -> Rollout:
        """Start a rollout: shadow, blue-green, canary or A/B."""
        return await rollouts.start_rollout(ctx, body.model, body.version, body.plan())

    @api.post("/v1/serving/rollouts/{model}/approve")
    async def approve_rollout(ctx: Caller, model: ModelName) -> Rollout:
        """Let a rollout begin that waits for a second person."""
        return await rollouts.approve_rollout(ctx, model)

    @api.post("/v1/serving/rollouts/{model}/pause")
    async def pause_rollout(ctx: Caller, model: ModelName, body: ReasonRequest) -> Rollout:
        """Send everything to the present version, for now."""
        return await rollouts.pause_rollout(ctx, model, reason=body.reason)

    @api.post("/v1/serving/rollouts/{model}/resume")
    async def resume_rollout(ctx: Caller, model: ModelName, body: ReasonRequest) -> Rollout:
        """Go on where it was paused."""
        return await rollouts.resume_rollout(ctx, model, reason=body.reason)

    @api.post("/v1/serving/rollouts/{model}/abort")
    async def abort_rollout(ctx: Caller, model: ModelName, body: ReasonRequest) -> Rollout:
        """End it; the present version stays."""
        return await rollouts.abort_rollout(ctx, model, reason=body.reason)

    @api.post("/v1/serving/rollouts/{model}/promote")
    async def promote_rollout(ctx: Caller, model: ModelName, body: EvidenceRequest) -> Rollout:
        """Put the new version into production now; state `pending`: a second person must do the same."""
        return await rollouts.promote_rollout(ctx, model, evidence=body.evidence)

    @api.post("/v1/serving/rollouts/{model}/rollback")
    async def roll_back_rollout(ctx: Caller, model: ModelName, body: ReasonRequest) -> Rollout:
        """Take the new version back: from its share, or out of production."""
        return await rollouts.roll_back_rollout(ctx, model, reason=body.reason)


def add_drills(api: APIRouter, drills: Drills) -> None:
    """Add the routes over a gated serving."""

    @api.get("/v1/serving/drills")
    async def list_drills(ctx: Caller, limit: Limit = 50) -> DrillList:
        """Drills, running ones first."""
        return DrillList(data=list(await drills.drills(ctx, limit=limit)))

    @api.post("/v1/serving/drills", status_code=201)
    async def begin_drill(ctx: Caller, body: DrillRequest) -> Drill:
        """Make a rung fail, slow down or hang, for at most ten minutes."""
        return await drills.begin_drill(
            ctx,
            body.model,
            body.rung,
            mode=body.mode,
            share=body.share,
            seconds=body.seconds,
            delay=body.delay,
        )

    @api.delete("/v1/serving/drills/{model}")
    async def end_drills(ctx: Caller, model: ModelName) -> Ended:
        """End the model's drills now."""
        return Ended(ended=await drills.end_drills(ctx, model))
