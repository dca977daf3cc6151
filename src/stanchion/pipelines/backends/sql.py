"""The engine over the house's database: SQLite or PostgreSQL, each method one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import update

from ...core.clock import Clock, micros
from ...core.context import Context, system_context
from ...core.storage import Database
from ..ports import (
    Asked,
    BadRow,
    Beat,
    Bound,
    Cancelled,
    Claimed,
    Engine,
    Executor,
    Expired,
    Hold,
    News,
    Outcome,
    Recording,
    RunRow,
    ScheduleRow,
    StepRow,
)
from . import changing, claiming, journal, reading
from .batching import Batcher
from .rows import journal as journal_of
from .rows import stored, superseded, the_run
from .tables import runs

_SYSTEM = system_context("-", task="pipelines")


class SqlEngine(Engine):
    """Runs in tables. `news` is told of changes in their own transaction; `steps` says whether of each step too."""

    def __init__(self, database: Database, *, clock: Clock, news: News | None = None, steps: bool = True) -> None:
        self._database = database
        self._clock = clock
        self._news = news
        self._step_news = news if steps else None
        self._steps = Batcher(self._stepped)
        self._ends = Batcher(self._ended)

    async def enqueue(self, ctx: Context, row: RunRow, steps: Sequence[StepRow] = ()) -> tuple[RunRow, bool]:
        return await self._database.write(ctx, lambda c: changing.enqueue(c, row, steps, self._news))

    async def waiting(self, executor: Executor, now: int) -> bool:
        return await self._database.read(lambda c: claiming.waiting(c, executor, now))

    async def claim(
        self, executor: Executor, bounds: Mapping[str, Bound], *, limit: int, now: int
    ) -> Sequence[Claimed]:
        return await self._database.write(_SYSTEM, lambda c: claiming.claim(c, executor, bounds, limit, now))

    async def record(self, hold: Hold, recording: Recording) -> StepRow:
        step = recording.step
        plain = recording.new and recording.work is None and recording.keep is None and not recording.bad
        if plain and self._step_news is None and await self._steps.put((hold, step)):
            return step
        now = micros(self._clock.now())
        row, cancelling = await self._database.write(
            _SYSTEM, lambda c: journal.record(c, hold, recording, self._step_news, now)
        )
        if cancelling:
            raise Cancelled
        return row

    async def _stepped(self, lines: Sequence[tuple[Hold, StepRow]]) -> Sequence[bool]:
        return await self._database.write(_SYSTEM, lambda c: journal.write_held(c, lines))

    async def _ended(self, ends: Sequence[journal.End]) -> Sequence[bool]:
        return await self._database.write(_SYSTEM, lambda c: journal.finish(c, ends, self._news))

    async def take(self, hold: Hold, step: StepRow, *, new: bool, now: int) -> StepRow:
        return await self._database.write(_SYSTEM, lambda c: journal.take(c, hold, step, new=new, now=now))

    async def park(self, hold: Hold, *, due: int, now: int) -> None:
        await self._database.write(_SYSTEM, lambda c: journal.park(c, hold, due, now))

    async def finish(self, hold: Hold, outcome: Outcome, now: int) -> None:
        if not await self._ends.put(journal.End(hold, outcome, now)):
            raise superseded(hold)

    async def release(self, hold: Hold) -> None:
        await self._database.write(_SYSTEM, lambda c: claiming.release(c, hold.tenant, hold.run, hold.epoch))

    async def refuse(self, hold: Hold) -> None:
        late = update(runs).where(the_run(hold.tenant, hold.run)).values(refused=runs.c.refused + 1)
        await self._database.write(_SYSTEM, lambda c: c.execute(late).rowcount)

    async def signal(self, ctx: Context, run: str, name: str, key: str, value: str, now: int) -> bool:
        return await self._database.write(ctx, lambda c: changing.signal(c, ctx.tenant, run, name, key, value, now))

    async def cancel(self, ctx: Context, run: str, now: int) -> RunRow:
        return await self._database.write(ctx, lambda c: changing.cancel(c, ctx.tenant, run, now, self._news))

    async def resume(self, ctx: Context, run: str, version: str | None, now: int) -> RunRow:
        return await self._database.write(ctx, lambda c: changing.resume(c, ctx.tenant, run, version, now))

    async def beat(self, executor: Executor) -> Beat:
        return await self._database.write(_SYSTEM, lambda c: claiming.beat(c, executor.id))

    async def register(self, executor: Executor) -> None:
        await self._database.write(_SYSTEM, lambda c: claiming.register(c, executor))

    async def executors(self) -> Sequence[Executor]:
        return await self._database.read(claiming.known)

    async def bury(self, executor: str, now: int, *, stalls: int) -> int:
        return await self._database.write(_SYSTEM, lambda c: claiming.bury(c, executor, now, stalls, self._news))

    async def run(self, tenant: str, run: str) -> RunRow:
        return await self._database.read(lambda c: stored(c, tenant, run))

    async def runs(self, tenant: str, asked: Asked) -> Sequence[RunRow]:
        return await self._database.read(lambda c: reading.listed(c, tenant, asked))

    async def steps(self, tenant: str, run: str) -> Sequence[StepRow]:
        found = await self._database.read(lambda c: journal_of(c, tenant, [run]))
        return found.get(run, ())

    async def waits(self, tenant: str, runs: Sequence[str]) -> Mapping[str, Sequence[str]]:
        return await self._database.read(lambda c: reading.waits(c, tenant, runs))

    async def bad(
        self, tenant: str, run: str, limit: int, *, record: str | None = None
    ) -> Sequence[tuple[str, BadRow, int]]:
        return await self._database.read(lambda c: reading.bad(c, tenant, run, limit, record))

    async def counts(self, tenant: str) -> Mapping[tuple[str, str], int]:
        return await self._database.read(lambda c: reading.counts(c, tenant))

    async def children(self, tenant: str, parent: str) -> Mapping[str, int]:
        return await self._database.read(lambda c: reading.children(c, tenant, parent))

    async def kept(self, tenant: str, key: str, now: int) -> tuple[str | None, str] | None:
        return await self._database.read(lambda c: reading.kept_answer(c, tenant, key, now))

    async def expired(self, now: int, limit: int) -> Sequence[Expired]:
        return await self._database.read(lambda c: reading.expired(c, now, limit))

    async def unkeep(self, gone: Sequence[Expired], now: int) -> None:
        await self._database.write(_SYSTEM, lambda c: changing.unkeep(c, gone, now))

    async def schedules(self, tenant: str) -> Sequence[ScheduleRow]:
        return await self._database.read(lambda c: reading.schedule_rows(c, tenant))

    async def plan(self, row: ScheduleRow) -> None:
        await self._database.write(_SYSTEM, lambda c: changing.plan(c, row))

    async def fire(self, row: ScheduleRow, upto: int, runs: Sequence[RunRow]) -> bool:
        return await self._database.write(_SYSTEM, lambda c: changing.fire(c, row, upto, runs, self._news))

    async def hold(self, ctx: Context, row: ScheduleRow) -> None:
        await self._database.write(ctx, lambda c: changing.hold(c, row))

    async def forget(self, before: int, limit: int) -> Sequence[tuple[str, str]]:
        return await self._database.read(lambda c: reading.old(c, before, limit))

    async def drop(self, runs: Sequence[tuple[str, str]]) -> None:
        await self._database.write(_SYSTEM, lambda c: changing.drop(c, runs))
