"""Pipelines and runs over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from ..core.context import Context
from ..core.http import Routes, context_of
from ..core.values import Json
from .contract import (
    DeadRow,
    Pipelines,
    PipelineView,
    Progress,
    QueueView,
    RecordTrail,
    Run,
    RunStatus,
    ScheduleView,
    StageRun,
    Values,
)

Caller = Annotated[Context, Depends(context_of)]
PipelineName = Annotated[str, Path(description="The name of a declared pipeline.")]
RunId = Annotated[str, Path(description="The id of a run.")]
_SVG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/svg+xml": {"schema": {"type": "string"}}}}}


class Body(BaseModel):
    """A request's body: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class RunRequest(Body):
    """A run to begin."""

    inputs: Json = Field(description="What the pipeline takes; its schema is in the pipeline.")
    key: str | None = Field(None, description="Used before for this pipeline: the earlier run is given.")
    dry: bool = Field(False, description="Leave out stages that have an effect.")


class BackfillRequest(Body):
    """A range to make up for."""

    start: datetime = Field(description="The first moment, with its time zone.")
    end: datetime = Field(description="The moment before which the range ends.")
    parallel: int = Field(2, ge=1, le=64, description="Partitions made at once.")


class SignalRequest(Body):
    """A value for a run that waits."""

    name: str = Field(min_length=1, max_length=200, description="What the run waits for.")
    value: Json = Field(None, description="What it gets.")
    key: str | None = Field(None, max_length=200, description="The same key again changes nothing.")


class ResumeRequest(Body):
    """How to go on."""

    adopt: bool = Field(False, description="With the present code instead of that which the run began with.")


class ForkRequest(Body):
    """Where the new run begins."""

    stage: str = Field(min_length=1, description="The first stage (or step) that is done anew.")


class PauseRequest(Body):
    """Whether a schedule is held."""

    paused: bool


class Signalled(BaseModel):
    """Whether the value is new."""

    accepted: bool


class PipelineList(BaseModel):
    """Declared pipelines, by name."""

    data: list[PipelineView]


class RunList(BaseModel):
    """Runs, newest first."""

    data: list[Run]


class StageList(BaseModel):
    """Steps, in their order."""

    data: list[StageRun]


class DeadRowList(BaseModel):
    """Rows that were set aside."""

    data: list[DeadRow]


class ScheduleList(BaseModel):
    """Schedules, by name."""

    data: list[ScheduleView]


class QueueList(BaseModel):
    """Queues, by name."""

    data: list[QueueView]


def routes(pipelines: Pipelines) -> Routes:
    """The routes over a gated service of pipelines."""
    api = APIRouter(tags=["pipelines"])
    _declared(api, pipelines)
    _looks(api, pipelines)
    _changes(api, pipelines)
    return Routes(api=api)


def _declared(api: APIRouter, pipelines: Pipelines) -> None:
    @api.get("/v1/pipelines")
    async def list_pipelines(ctx: Caller) -> PipelineList:
        """The declared pipelines with the schema of their inputs."""
        return PipelineList(data=list(await pipelines.declared(ctx)))

    @api.post("/v1/pipelines/{pipeline}/runs", status_code=201)
    async def begin_run(ctx: Caller, pipeline: PipelineName, body: RunRequest) -> Run:
        """Begin a run with the caller's rights."""
        return await pipelines.begin(ctx, pipeline, body.inputs, key=body.key, dry=body.dry)

    @api.post("/v1/pipelines/{pipeline}/backfills", status_code=201)
    async def begin_backfill(ctx: Caller, pipeline: PipelineName, body: BackfillRequest) -> Run:
        """Make up for each moment of the pipeline's schedule in a range."""
        return await pipelines.backfill(ctx, pipeline, body.start, body.end, parallel=body.parallel)

    @api.get("/v1/pipelines/{pipeline}/graph.svg", response_class=Response, responses=_SVG)
    async def pipeline_picture(
        ctx: Caller, pipeline: PipelineName, run: Annotated[str | None, Query(description="Colour by a run.")] = None
    ) -> Response:
        """The graph as a picture."""
        return Response(await pipelines.picture(ctx, pipeline, run=run), media_type="image/svg+xml")

    @api.get("/v1/pipelines/-/schedules")
    async def list_schedules(ctx: Caller) -> ScheduleList:
        """When pipelines start by themselves."""
        return ScheduleList(data=list(await pipelines.schedules(ctx)))

    @api.put("/v1/pipelines/-/schedules/{schedule}")
    async def pause_schedule(ctx: Caller, schedule: str, body: PauseRequest) -> ScheduleView:
        """Hold a schedule, or let it fire again."""
        return await pipelines.pause(ctx, schedule, paused=body.paused)

    @api.get("/v1/pipelines/-/queues")
    async def list_queues(ctx: Caller) -> QueueList:
        """Queues with their limits and how many runs are in which state."""
        return QueueList(data=list(await pipelines.queues(ctx)))


def _looks(api: APIRouter, pipelines: Pipelines) -> None:
    @api.get("/v1/runs")
    async def list_runs(
        ctx: Caller,
        pipeline: Annotated[str | None, Query(description="Of this pipeline.")] = None,
        status: Annotated[RunStatus | None, Query(description="In this state.")] = None,
        parent: Annotated[str | None, Query(description="Begun by this run.")] = None,
        before: Annotated[str | None, Query(description="The last id of the page before.")] = None,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    ) -> RunList:
        """Runs, newest first, without their values."""
        found = await pipelines.list(ctx, pipeline=pipeline, status=status, parent=parent, before=before, limit=limit)
        return RunList(data=list(found))

    @api.get("/v1/runs/-/dead")
    async def dead_runs(ctx: Caller, limit: Annotated[int, Query(ge=1, le=1_000)] = 100) -> RunList:
        """Runs that need somebody."""
        return RunList(data=list(await pipelines.dead(ctx, limit=limit)))

    @api.get("/v1/runs/{run}")
    async def get_run(
        ctx: Caller, run: RunId, wait: Annotated[float, Query(ge=0, le=50, description="Seconds to wait.")] = 0
    ) -> Run:
        """One run; with `wait` once it has ended, or after so many seconds."""
        return await pipelines.wait(ctx, run, seconds=wait) if wait else await pipelines.get(ctx, run)

    @api.get("/v1/runs/{run}/values")
    async def run_values(ctx: Caller, run: RunId) -> Values:
        """What the run took and gave, whoever started it."""
        return await pipelines.values(ctx, run)

    @api.get("/v1/runs/{run}/stages")
    async def run_stages(ctx: Caller, run: RunId) -> StageList:
        """What each step of the run did, and when."""
        return StageList(data=list(await pipelines.stages(ctx, run)))

    @api.get("/v1/runs/{run}/progress")
    async def run_progress(ctx: Caller, run: RunId) -> Progress:
        """How far a backfill is."""
        return await pipelines.progress(ctx, run)

    @api.get("/v1/runs/{run}/quarantine")
    async def run_quarantine(
        ctx: Caller, run: RunId, limit: Annotated[int, Query(ge=1, le=10_000)] = 100
    ) -> DeadRowList:
        """Rows that were set aside, with their reasons."""
        return DeadRowList(data=list(await pipelines.quarantined(ctx, run, limit=limit)))

    @api.get("/v1/runs/{run}/records/{record}")
    async def run_record(ctx: Caller, run: RunId, record: str) -> RecordTrail:
        """What happened to one record between input and output."""
        return await pipelines.record(ctx, run, record)


def _changes(api: APIRouter, pipelines: Pipelines) -> None:
    @api.post("/v1/runs/{run}/signals")
    async def signal_run(ctx: Caller, run: RunId, body: SignalRequest) -> Signalled:
        """Give a value to a run that waits for it, or will."""
        return Signalled(accepted=await pipelines.signal(ctx, run, body.name, body.value, key=body.key))

    @api.post("/v1/runs/{run}/cancel")
    async def cancel_run(ctx: Caller, run: RunId) -> Run:
        """Stop a run and those it began, and undo what can be undone."""
        return await pipelines.cancel(ctx, run)

    @api.post("/v1/runs/{run}/resume")
    async def resume_run(ctx: Caller, run: RunId, body: ResumeRequest) -> Run:
        """Let a failed or cancelled run go on from its last good step."""
        return await pipelines.resume(ctx, run, adopt=body.adopt)

    @api.post("/v1/runs/{run}/fork", status_code=201)
    async def fork_run(ctx: Caller, run: RunId, body: ForkRequest) -> Run:
        """A new run that takes over what came before a stage."""
        return await pipelines.fork(ctx, run, body.stage)
