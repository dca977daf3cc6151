"""When pipelines start by themselves, and the moments of a range that a backfill makes up for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from ..core.clock import Clock, micros, moment
from ..core.context import Context
from ..core.errors import InvalidInput, Misconfigured, NotFound
from ..core.tasks import end_tasks
from .contract import LiveRun, PipelineSpec, ScheduleSpec, ScheduleView, StageFailed
from .ports import NEVER, Engine, RunRow, ScheduleRow
from .starting import Starting, from_typed
from .values import author_of

if TYPE_CHECKING:
    from cronsim import CronSim

MOST_MOMENTS = 10_000
_LATE = 1_000
BACKFILL = "backfill"


def moments(spec: ScheduleSpec, after: datetime) -> Iterator[datetime]:
    """The moments of a schedule by time, strictly after one, in UTC."""
    if spec.every is not None:
        origin = spec.since or datetime(1970, 1, 1, tzinfo=UTC)
        count = max(-1, (after - origin) // spec.every)
        while True:
            count += 1
            yield origin + count * spec.every
    for found in _cron(spec, after):
        yield found.astimezone(UTC)


def _cron(spec: ScheduleSpec, after: datetime) -> CronSim:
    try:
        from cronsim import CronSim, CronSimError
    except ModuleNotFoundError as error:
        raise Misconfigured(
            "schedules by cron need cronsim", next_step="Run `pip install 'stanchion[pipelines]'`."
        ) from error
    try:
        return CronSim(spec.cron, after.astimezone(ZoneInfo(spec.zone)))
    except (CronSimError, KeyError) as error:
        raise Misconfigured(f"{spec.name} has no usable cron line: {spec.cron!r} in {spec.zone}") from error


def when(spec: ScheduleSpec) -> str:
    """A schedule in words."""
    if spec.on:
        return f"on {spec.on}"
    return f"every {spec.every}" if spec.every is not None else f"{spec.cron} {spec.zone}"


class Schedules:
    """The declared schedules of a system; their runs have the rights that were declared, in the system's own tenant."""

    def __init__(
        self,
        engine: Engine,
        starting: Starting,
        specs: Sequence[ScheduleSpec],
        *,
        tenant: str,
        clock: Clock,
        poll: float,
    ) -> None:
        self._engine = engine
        self._starting = starting
        self._specs = {spec.name: spec for spec in specs}
        self._tenant = tenant
        self._clock = clock
        self._poll = poll
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Store what has no state yet, and fire from here on."""
        for spec in self._timed():
            first = next(moments(spec, self._clock.now()))
            await self._engine.plan(ScheduleRow(self._tenant, spec.name, micros(first)))
        if self._timed():
            self._task = asyncio.create_task(self._serve(), name="pipelines schedules")

    async def stop(self) -> None:
        """Fire no more."""
        await end_tasks(self._task)

    def _timed(self) -> list[ScheduleSpec]:
        return [spec for spec in self._specs.values() if not spec.on]

    async def _serve(self) -> None:
        from ..core.errors import StanchionError

        while True:
            with suppress(StanchionError):
                await self.fire()
            await asyncio.sleep(self._poll)

    async def fire(self) -> int:
        """Start what is due; how many runs. Of several processes one does."""
        now, started = self._clock.now(), 0
        for row in await self._engine.schedules(self._tenant):
            spec = self._specs.get(row.name)
            if spec is None or spec.on or row.paused or row.next > micros(now):
                continue
            due = [moment(row.next)]
            upcoming = moments(spec, due[0])
            while (following := next(upcoming)) <= now:
                due = [*due[-_LATE:], following]
            runs = [self._row(spec, each) for each in (due if spec.catch_up else due[-1:])]
            if await self._engine.fire(row, micros(following), runs):
                started += len(runs)
                self._starting.wake()
        return started

    def _row(self, spec: ScheduleSpec, at: datetime) -> RunRow:
        pipeline = self._starting.spec(spec.pipeline)
        author = author_of(Context(self._tenant, f"schedule:{spec.name}", spec.rights))
        inputs = from_typed(pipeline, spec.inputs(at))
        row = self._starting.draft(pipeline, self._tenant, author, inputs, key=key_of(spec, at))
        return replace(row, schedule=spec.name, partition=at.isoformat())

    def named(self, pipeline: str) -> list[str]:
        """Names of a pipeline's schedules."""
        return sorted(spec.name for spec in self._specs.values() if spec.pipeline == pipeline)

    async def views(self, ctx: Context) -> list[ScheduleView]:
        """Every schedule, by name. Schedules are of the system's own tenant."""
        if ctx.tenant != self._tenant:
            return []
        rows = {row.name: row for row in await self._engine.schedules(ctx.tenant)}
        return [self._view(spec, rows.get(spec.name)) for _, spec in sorted(self._specs.items())]

    @staticmethod
    def _view(spec: ScheduleSpec, row: ScheduleRow | None) -> ScheduleView:
        if row is None:
            return ScheduleView(spec.name, spec.pipeline, when(spec), paused=False)
        upcoming = None if row.paused or row.next >= NEVER else moment(row.next)
        last = None if row.last is None else moment(row.last)
        return ScheduleView(spec.name, spec.pipeline, when(spec), row.paused, upcoming, last)

    async def pause(self, ctx: Context, name: str, paused: bool) -> ScheduleView:
        """Hold a schedule by time, or let it fire from the next moment on. Raises NotFound, InvalidInput."""
        spec = self._specs.get(name) if ctx.tenant == self._tenant else None
        if spec is None:
            raise NotFound(f"there is no schedule {name!r}")
        rows = {row.name: row for row in await self._engine.schedules(ctx.tenant)}
        if spec.on or name not in rows:
            raise InvalidInput(f"the schedule {name} is by events: pause its consumer instead")
        following = micros(next(moments(spec, self._clock.now())))
        row = replace(rows[name], paused=paused, next=following)
        await self._engine.hold(ctx, row)
        return self._view(spec, row)

    def range(self, pipeline: str, start: datetime, end: datetime) -> tuple[ScheduleSpec, list[datetime]]:
        """The schedule of a pipeline and its moments in [start, end). Raises InvalidInput."""
        found = [spec for spec in self._timed() if spec.pipeline == pipeline]
        if not found:
            raise InvalidInput(f"{pipeline} has no schedule by time, so a range has no partitions")
        if start.tzinfo is None or end.tzinfo is None or start >= end:
            raise InvalidInput("a range has a start before its end, both with their time zone")
        chosen: list[datetime] = []
        for at in moments(found[0], start - timedelta(microseconds=1)):
            if at >= end:
                break
            chosen.append(at)
            if len(chosen) > MOST_MOMENTS:
                raise InvalidInput(f"the range has more than {MOST_MOMENTS} moments", next_step="Take shorter ranges.")
        if not chosen:
            raise InvalidInput("the schedule has no moment in this range")
        return found[0], chosen

    def backfill(self, specs: Mapping[str, PipelineSpec]) -> PipelineSpec:
        """The pipeline that makes up for a range: one child for each moment."""

        async def backfill(run: LiveRun, wanted: dict[str, Any]) -> dict[str, Any]:
            spec = self._specs[wanted["schedule"]]
            room = asyncio.Semaphore(wanted["parallel"])

            async def one(at: datetime) -> str:
                async with room:
                    try:
                        inputs = spec.inputs(at)
                        await run.child(spec.pipeline, inputs, key=key_of(spec, at), partition=at.isoformat())
                    except StageFailed:
                        return at.isoformat()
                return ""

            failed = await asyncio.gather(*(one(datetime.fromisoformat(each)) for each in wanted["moments"]))
            lost = [each for each in failed if each]
            if lost:
                raise StageFailed("partitions_failed", f"{len(lost)} partitions failed: {', '.join(lost[:10])}", "")
            return {"partitions": len(failed)}

        kind = dict[str, Any]
        return PipelineSpec(name=BACKFILL, function=backfill, input=kind, output=kind, version="1", queue=BACKFILL)


def key_of(spec: ScheduleSpec, at: datetime) -> str:
    """What makes a partition be made once, by whoever is first: the schedule or a backfill."""
    return f"{spec.name}@{at.astimezone(UTC).isoformat()}"
