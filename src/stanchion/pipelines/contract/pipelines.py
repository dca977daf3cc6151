"""The Protocol: durable runs of declared pipelines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from ...core.context import Context
from ...core.contract import action
from ...core.values import Json
from .runs import DeadRow, Progress, RecordTrail, Run, RunStatus, StageRun, Values
from .views import PipelineView, QueueView, ScheduleView


class Pipelines(Protocol):
    """Runs that resume where they stopped. All ids are of the caller's tenant; another's answer NotFound.

    A step that has ended is never run again. One that was under way when its process died is: give what it does outside
    the step's key. Stages that write by SQL to our own database commit with the journal: once, whatever happens.
    """

    @action("pipelines:read", effect="read", resource="Pipeline")
    async def declared(self, ctx: Context) -> Sequence[PipelineView]:
        """The declared pipelines, by name."""
        ...

    @action("pipelines:start", effect="write", resource="Pipeline", by="pipeline")
    async def begin(
        self, ctx: Context, pipeline: str, inputs: Json, *, key: str | None = None, dry: bool = False
    ) -> Run:
        """Start a run. It keeps the caller's rights and labels, and never gets more.

        With a `key` that was used before for this pipeline the earlier run is given, whatever its state. `dry` leaves
        out stages that have an effect, and all that needs their answers. Raises NotFound, InvalidInput (inputs not of
        the declared type), Conflict (the key came with other inputs).
        """
        ...

    @action("pipelines:read", effect="read", resource="Run", by="run")
    async def get(self, ctx: Context, run: str) -> Run:
        """One run; with inputs and output for who started it. Raises NotFound."""
        ...

    @action("pipelines:read", effect="read", resource="Run", by="run")
    async def wait(self, ctx: Context, run: str, *, seconds: float = 30.0) -> Run:
        """The run once it has ended, or as it is after `seconds` (at most 300). Raises NotFound."""
        ...

    @action("pipelines:read_content", effect="read", resource="Run", by="run")
    async def values(self, ctx: Context, run: str) -> Values:
        """Inputs and output of anybody's run of the tenant. Raises NotFound."""
        ...

    @action("pipelines:read", effect="read", resource="Run")
    async def list(
        self,
        ctx: Context,
        *,
        pipeline: str | None = None,
        status: RunStatus | None = None,
        parent: str | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> Sequence[Run]:
        """Runs by descending id (newest first), at most 1,000; `before` is the last id of the page before."""
        ...

    @action("pipelines:read", effect="read", resource="Run", by="run")
    async def stages(self, ctx: Context, run: str) -> Sequence[StageRun]:
        """The steps of a run that have left a trace, in their order. Raises NotFound."""
        ...

    @action("pipelines:read_content", effect="read", resource="Run", by="run")
    async def record(self, ctx: Context, run: str, record_id: str) -> RecordTrail:
        """What each step that names its records did to this one. Raises NotFound."""
        ...

    @action("pipelines:read_content", effect="read", resource="Run", by="run")
    async def quarantined(self, ctx: Context, run: str, *, limit: int = 100) -> Sequence[DeadRow]:
        """Rows that were set aside, in the order of their steps, at most 10,000. Raises NotFound."""
        ...

    @action("pipelines:signal", effect="write", resource="Run", by="run")
    async def signal(self, ctx: Context, run: str, name: str, value: Json, *, key: str | None = None) -> bool:
        """Give a value to a run that waits for the name, or will; each is taken by one wait, in order.

        False if a signal of the same name and `key` was given before. Raises NotFound, Conflict (the run has ended).
        """
        ...

    @action("pipelines:cancel", effect="write", resource="Run", by="run")
    async def cancel(self, ctx: Context, run: str) -> Run:
        """Stop the run and its children before their next step; what ended is compensated, newest first.

        A run that has ended stays as it is. Raises NotFound.
        """
        ...

    @action("pipelines:resume", effect="write", resource="Run", by="run")
    async def resume(self, ctx: Context, run: str, *, adopt: bool = False) -> Run:
        """Let a failed or cancelled run go on from its last good step; `adopt` moves it to the present code.

        A run keeps the rights of who started it. Raises NotFound, Conflict (it is under way, done, or compensated).
        """
        ...

    @action("pipelines:start", effect="write", resource="Run", by="run")
    async def fork(self, ctx: Context, run: str, stage: str) -> Run:
        """A new run with the same inputs, the present code and the caller's rights, which begins at the stage.

        The answers of the steps before it are taken over. Raises NotFound (no such run, or the stage left no step).
        """
        ...

    @action("pipelines:read", effect="read", resource="Pipeline")
    async def schedules(self, ctx: Context) -> Sequence[ScheduleView]:
        """The declared schedules, by name."""
        ...

    @action("pipelines:schedule", effect="write", resource="Schedule", by="schedule")
    async def pause(self, ctx: Context, schedule: str, *, paused: bool = True) -> ScheduleView:
        """Hold a schedule, or let it fire again from the next moment on. Raises NotFound."""
        ...

    @action("pipelines:start", effect="write", resource="Pipeline", by="pipeline")
    async def backfill(self, ctx: Context, pipeline: str, start: datetime, end: datetime, *, parallel: int = 2) -> Run:
        """A run with one child for each moment of the pipeline's schedule in [start, end), so many at once.

        The same range again continues what is there: a partition is made once. Raises NotFound, InvalidInput (no
        schedule by time, more than 10,000 moments).
        """
        ...

    @action("pipelines:read", effect="read", resource="Run", by="run")
    async def progress(self, ctx: Context, run: str) -> Progress:
        """How many children of a backfill are in which state. Raises NotFound."""
        ...

    @action("pipelines:read", effect="read", resource="Pipeline")
    async def queues(self, ctx: Context) -> Sequence[QueueView]:
        """Every queue that is declared or holds runs of the tenant, by name."""
        ...

    @action("pipelines:read", effect="read", resource="Run")
    async def dead(self, ctx: Context, *, limit: int = 100) -> Sequence[Run]:
        """Runs that need somebody: failed, or due with no process that has their code. Newest first."""
        ...

    @action("pipelines:read", effect="read", resource="Pipeline", by="pipeline")
    async def picture(self, ctx: Context, pipeline: str, *, run: str | None = None) -> str:
        """The graph as SVG; with a run each stage has the colour of its state. Raises NotFound."""
        ...
