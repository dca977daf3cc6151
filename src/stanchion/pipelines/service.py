"""The rules of pipelines: what callers may do with runs, and what they are told of them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime

from ..core.clock import Clock, micros
from ..core.context import Context
from ..core.errors import InvalidInput, NotFound
from ..core.values import Json
from .contract import (
    DeadRow,
    Pipelines,
    PipelineSpec,
    PipelineView,
    Progress,
    QueueSpec,
    QueueView,
    RecordTrail,
    Run,
    RunStatus,
    ScheduleSpec,
    ScheduleView,
    StageRun,
    Values,
)
from .drawing import chain, drawn, states_of
from .keeping import Keeping
from .ports import Asked, Bound, Engine, RunRow, StepRow
from .running.bells import Bells
from .running.steps import Tools
from .running.worker import Pace, Worker
from .scheduling import BACKFILL, Schedules
from .starting import Starting, known_id, written
from .trail import Trail
from .values import Answers, codec, plain
from .viewing import dead_row, pipeline_view, run_view, stage_view

Runs = tuple[Run, ...]
_ENDED = ("done", "failed", "cancelled")
_LONGEST_WAIT = 300.0


class PipelineService(Pipelines):
    """Runs of the declared pipelines. It works on them between `start` and `stop`, if it is to."""

    def __init__(
        self,
        engine: Engine,
        answers: Answers,
        *,
        pipelines: Sequence[PipelineSpec],
        queues: Sequence[QueueSpec],
        schedules: Sequence[ScheduleSpec],
        pace: Pace,
        tenant: str,
        clock: Clock,
        keep_days: int,
        threads: int = 8,
        work: bool = True,
    ) -> None:
        self._engine = engine
        self._answers = answers
        self._clock = clock
        self._queues = {spec.name: spec for spec in queues}
        self._specs = {spec.name: spec for spec in pipelines}
        self._starting = Starting(engine, self._specs, clock, self._wake)
        self._schedules = Schedules(
            engine, self._starting, schedules, tenant=tenant, clock=clock, poll=min(1.0, pace.poll)
        )
        if self._specs:
            self._specs[BACKFILL] = self._schedules.backfill(self._specs)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="stanchion-stage")
        tools = Tools(engine, answers, clock, self._pool)
        bounds = {spec.name: _bound(spec) for spec in queues}
        self._bells = Bells()
        works = work and bool(self._specs)
        self._worker = Worker(tools, self._specs, bounds, pace, self._starting, self._bells) if works else None
        self._keeping = Keeping(engine, answers, clock, days=keep_days)
        self._poll = pace.poll

    async def start(self) -> None:
        """Begin to work on runs."""
        if self._worker is not None:
            await self._worker.start()
            await self._schedules.start()
            await self._keeping.start()

    async def stop(self) -> None:
        """Give back what is under way."""
        if self._worker is not None:
            await self._keeping.stop()
            await self._schedules.stop()
            await self._worker.stop()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _wake(self) -> None:
        if self._worker is not None:
            self._worker.wake()

    # -- pipelines

    async def declared(self, ctx: Context) -> Sequence[PipelineView]:
        shown = [spec for name, spec in sorted(self._specs.items()) if name != BACKFILL]
        return [pipeline_view(spec, self._schedules.named(spec.name)) for spec in shown]

    async def schedules(self, ctx: Context) -> Sequence[ScheduleView]:
        return await self._schedules.views(ctx)

    async def pause(self, ctx: Context, schedule: str, *, paused: bool = True) -> ScheduleView:
        return await self._schedules.pause(ctx, schedule, paused)

    async def queues(self, ctx: Context) -> Sequence[QueueView]:
        counts = await self._engine.counts(ctx.tenant)
        executors = await self._engine.executors()
        names = {*self._queues, *(queue for queue, _ in counts), *(spec.queue for spec in self._specs.values())}
        return [
            QueueView(
                name=name,
                counts={status: number for (queue, status), number in counts.items() if queue == name},
                concurrency=self._queues[name].concurrency if name in self._queues else None,
                rate=_rate(self._queues.get(name)),
                workers=sum(1 for each in executors if "*" in each.queues or name in each.queues),
            )
            for name in sorted(names)
        ]

    async def picture(self, ctx: Context, pipeline: str, *, run: str | None = None) -> str:
        steps = [] if run is None else list(await self.stages(ctx, run))
        if run is not None and (await self._row(ctx, run)).pipeline != pipeline:
            raise NotFound(f"the run {run} is not of {pipeline}")
        nodes = pipeline_view(self._starting.spec(pipeline), ()).nodes or chain(steps)
        return drawn(pipeline, nodes, states_of(steps))

    # -- runs

    async def begin(
        self, ctx: Context, pipeline: str, inputs: Json, *, key: str | None = None, dry: bool = False
    ) -> Run:
        return await self._told(await self._starting.start(ctx, pipeline, inputs, key=key, dry=dry))

    async def get(self, ctx: Context, run: str) -> Run:
        return await self._whole(ctx, await self._row(ctx, run))

    async def wait(self, ctx: Context, run: str, *, seconds: float = 30.0) -> Run:
        if not 0 <= seconds <= _LONGEST_WAIT:
            raise InvalidInput(f"one waits 0 to {_LONGEST_WAIT:.0f} seconds, not {seconds}")
        until = self._clock.monotonic() + seconds
        pause = 0.02
        while (row := await self._row(ctx, run)).status not in _ENDED:
            left = until - self._clock.monotonic()
            if left <= 0:
                break
            await self._bells.heard(row.id, min(pause, left))
            pause = min(self._poll, pause * 1.5)
        return await self._whole(ctx, row)

    async def values(self, ctx: Context, run: str) -> Values:
        return await self._held(await self._row(ctx, run))

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
        if not 1 <= limit <= 1_000:
            raise InvalidInput(f"a page has 1 to 1,000 runs, not {limit}")
        for given in (pipeline, parent, before):
            if given is not None and not written(given, 128):
                raise InvalidInput("a filter has at most 128 characters, all of them printable")
        rows = await self._engine.runs(ctx.tenant, Asked(pipeline, status, parent, before, limit))
        return await self._views(ctx.tenant, rows)

    async def dead(self, ctx: Context, *, limit: int = 100) -> Sequence[Run]:
        if not 1 <= limit <= 1_000:
            raise InvalidInput(f"a page has 1 to 1,000 runs, not {limit}")
        states: tuple[RunStatus, ...] = ("failed", "queued", "waiting")
        pages = [await self._engine.runs(ctx.tenant, Asked(status=status, limit=limit)) for status in states]
        rows = [row for page in pages for row in page]
        views = await self._views(ctx.tenant, sorted(rows, key=lambda row: row.id, reverse=True))
        return [view for view in views if view.status == "failed" or view.blocked][:limit]

    async def stages(self, ctx: Context, run: str) -> Sequence[StageRun]:
        await self._row(ctx, run)
        return [stage_view(row) for row in await self._engine.steps(ctx.tenant, run)]

    async def record(self, ctx: Context, run: str, record_id: str) -> RecordTrail:
        row = await self._row(ctx, run)
        trail = Trail(self._starting.spec(row.pipeline), await self._engine.steps(ctx.tenant, run), self._answers)
        steps = await trail.follow(record_id, await self._engine.bad(ctx.tenant, run, 1_000, record=record_id))
        if not steps:
            raise NotFound(f"no stage of the run {run} that names its records had {record_id!r}")
        return RecordTrail(run, record_id, steps)

    async def quarantined(self, ctx: Context, run: str, *, limit: int = 100) -> Sequence[DeadRow]:
        if not 1 <= limit <= 10_000:
            raise InvalidInput(f"a page has 1 to 10,000 rows, not {limit}")
        await self._row(ctx, run)
        return [dead_row(*found) for found in await self._engine.bad(ctx.tenant, run, limit)]

    async def signal(self, ctx: Context, run: str, name: str, value: Json, *, key: str | None = None) -> bool:
        if not name or name.startswith("child:") or not written(name, 200) or not written(key or "", 200):
            raise InvalidInput("a signal has a name of 1 to 200 characters that does not begin with `child:`")
        text = codec(Json).encode(value)
        now = micros(self._clock.now())
        given = await self._engine.signal(ctx, known_id(run), name, key or secrets.token_hex(12), text, now)
        self._wake()
        return given

    async def cancel(self, ctx: Context, run: str) -> Run:
        row = await self._engine.cancel(ctx, known_id(run), micros(self._clock.now()))
        if self._worker is not None:
            self._worker.cancel(ctx.tenant, run)
        self._wake()
        return await self._told(row)

    async def resume(self, ctx: Context, run: str, *, adopt: bool = False) -> Run:
        old = await self._row(ctx, run)
        version = self._starting.spec(old.pipeline).version if adopt else None
        row = await self._engine.resume(ctx, run, version, micros(self._clock.now()))
        self._wake()
        return await self._told(row)

    async def fork(self, ctx: Context, run: str, stage: str) -> Run:
        old = await self._row(ctx, run)
        steps = await self._engine.steps(ctx.tenant, run)
        numbers = [step.number for step in steps if stage in (step.stage, step.step)]
        if not numbers:
            raise NotFound(f"the stage {stage!r} left no step in the run {run}")
        kept = [await self._own(step, old) for step in steps if step.number < min(numbers) and step.status == "done"]
        return await self._told(await self._starting.fork(ctx, old, kept))

    async def backfill(self, ctx: Context, pipeline: str, start: datetime, end: datetime, *, parallel: int = 2) -> Run:
        if not 1 <= parallel <= 64:
            raise InvalidInput(f"1 to 64 partitions are made at once, not {parallel}")
        self._starting.spec(pipeline)
        schedule, chosen = self._schedules.range(pipeline, start, end)
        moments: list[Json] = [at.isoformat() for at in chosen]
        inputs: dict[str, Json] = {"schedule": schedule.name, "moments": moments, "parallel": parallel}
        return await self._told(await self._starting.start(ctx, BACKFILL, inputs, key=None, dry=False))

    async def progress(self, ctx: Context, run: str) -> Progress:
        row = await self._row(ctx, run)
        given = plain(row.inputs)
        counts = await self._engine.children(ctx.tenant, run)
        moments = given.get("moments") if isinstance(given, dict) and row.pipeline == BACKFILL else None
        total = len(moments) if isinstance(moments, list) else sum(counts.values())
        return Progress(run, total, counts)

    # -- telling

    async def _row(self, ctx: Context, run: str) -> RunRow:
        """A run of the caller's tenant. Raises NotFound, for what could be no id too."""
        return await self._engine.run(ctx.tenant, known_id(run))

    async def _own(self, step: StepRow, old: RunRow) -> StepRow:
        """A step for another run: what it refers to must not vanish with this one."""
        if not step.blob:
            return step
        text = await self._answers.load(None, step.blob)
        return replace(step, output=text, blob="")

    async def _whole(self, ctx: Context, row: RunRow) -> Run:
        view = await self._told(row)
        if view.principal != ctx.principal:
            return view
        held = await self._held(row)
        return replace(view, inputs=held.inputs, output=held.output)

    async def _held(self, row: RunRow) -> Values:
        return Values(plain(row.inputs), plain(await self._answers.load(row.output, row.blob)))

    async def _told(self, row: RunRow) -> Run:
        [view] = await self._views(row.tenant, [row])
        return view

    async def _views(self, tenant: str, rows: Sequence[RunRow]) -> Runs:
        parked = [row.id for row in rows if row.status in ("waiting", "queued")]
        waits = await self._engine.waits(tenant, parked) if parked else {}
        known = {code for each in await self._engine.executors() for code in each.code} if parked else set()
        return tuple(run_view(row, waits, self._blocked(row, known)) for row in rows)

    def _blocked(self, row: RunRow, known: set[tuple[str, str]]) -> str:
        if row.status not in ("queued", "waiting") or (row.pipeline, row.version) in known or not known:
            return ""
        have = sorted(version for pipeline, version in known if pipeline == row.pipeline)
        return f"waits for a process with the code {row.version}; those that live have {', '.join(have) or 'none'}"


def _bound(spec: QueueSpec) -> Bound:
    if spec.rate is None:
        return Bound(spec.concurrency)
    return Bound(spec.concurrency, spec.rate.limit, spec.rate.seconds)


def _rate(spec: QueueSpec | None) -> str:
    return "" if spec is None or spec.rate is None else f"{spec.rate.limit} in {spec.rate.seconds:g} s"
