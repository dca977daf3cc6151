"""Materialisation: read a stretch, store it online, commit that it is done; then the next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ...core.clock import Clock, micros, moment
from ...core.context import Context, new_request_id
from ...core.errors import FieldProblem, InvalidInput
from ...core.tasks import end_tasks
from ..contract.offline import Progress
from ..offline.relations import Relations
from ..offline.service import filled, interruptible
from ..online.push import occurrences
from ..online.values import OnlineValues
from ..ports import Job, Jobs, Offline, Relation, Session, Span
from ..rows import Shape
from .plan import Partition, backfill, catch_up, useful

_SECOND = 1_000_000
_END: Mapping[str, Sequence[Any]] = {}


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a partition's stretch of event time is, and for how long a run that has died keeps its view."""

    partition: timedelta
    lease: timedelta


class Materialise:
    """Fills the online side. One run at a time has a view, in whatever process."""

    def __init__(
        self,
        shapes: Mapping[str, Shape],
        values: OnlineValues,
        *,
        relations: Relations,
        engine: Offline,
        jobs: Jobs,
        clock: Clock,
        pace: Pace,
    ) -> None:
        self._shapes = shapes
        self._values = values
        self._relations = relations
        self._engine = engine
        self._jobs = jobs
        self._clock = clock
        self._lease = pace.lease // timedelta(microseconds=1)
        self._size = pace.partition // timedelta(microseconds=1)

    async def materialise(
        self, ctx: Context, view: str, *, start: datetime | None = None, end: datetime | None = None
    ) -> AsyncIterator[Progress]:
        """As `OfflineFeatures.materialise`. Raises what it raises."""
        relation = await self._relations.of(ctx, view)
        shape = self._shapes[view]
        now = self._now()
        first, last = _stretch(start, end, now)
        run = new_request_id()
        held = await self._jobs.take(ctx, view, run, now, now + self._lease)
        renewal = asyncio.create_task(self._renew(ctx, view, run), name=f"lease of {view}")
        try:
            job = held if held is not None and held.definition == shape.fingerprint else Job(shape.fingerprint)
            with ExitStack() as stack:
                read = Span(useful(relation.plan, now) if first is None else first, last)
                session = await asyncio.to_thread(stack.enter_context, self._engine.open([relation], read))
                await filled(session, 0, relation, self._relations.log, ctx.tenant, read)
                if first is None:
                    bounds = await interruptible(session, session.bounds)
                    begins = None if bounds is None else bounds[0]
                    parts = catch_up(relation.plan, job, first=begins, end=last, now=now, size=self._size)
                else:
                    parts = backfill(job, start=first, end=last, size=self._size)
                for number, part in enumerate(parts, start=1):
                    rows = 0 if part.skipped else await self._one(ctx, shape, relation, session, part, run)
                    yield Progress(run, moment(part.span.start), rows, number, len(parts), part.skipped)
        finally:
            # It may have ended because another run took over: then the next commit of this one has said so.
            await end_tasks(renewal)
            await asyncio.shield(self._jobs.release(ctx, view, run))

    async def _one(
        self, ctx: Context, shape: Shape, relation: Relation, session: Session, part: Partition, run: str
    ) -> int:
        """Store one partition and commit that it is done; the number of its rows.

        Values are stored before the commit: after a kill in between they are stored again, which changes nothing.
        """
        rows = 0
        pages = session.occurrences(part.span, known=part.known)
        while page := await interruptible(session, lambda: _next(pages)):
            found = occurrences(shape, page)
            rows += len(found)
            await self._values.put(ctx.tenant, shape, found)
            await self._jobs.keep(ctx, relation.plan.name, run, self._now() + self._lease)
        if ctx.effect is not None:
            begins = moment(part.span.start).isoformat()
            ctx.effect.note(
                view=shape.name, job=run, partition=begins, until=moment(part.span.end).isoformat(), rows=rows
            )
        await self._jobs.keep(ctx, relation.plan.name, run, self._now() + self._lease, part.after)
        return rows

    async def _renew(self, ctx: Context, view: str, run: str) -> None:
        """Hold the lease on while a long piece of work goes on."""
        while True:
            await asyncio.sleep(self._lease / _SECOND / 3)
            await self._jobs.keep(ctx, view, run, self._now() + self._lease)

    def _now(self) -> int:
        return micros(self._clock.now())


def _next(pages: Iterator[Mapping[str, Sequence[Any]]]) -> Mapping[str, Sequence[Any]]:
    return next(pages, _END)


def _stretch(start: datetime | None, end: datetime | None, now: int) -> tuple[int | None, int]:
    """The asked stretch in microseconds; it ends now at the latest. Raises InvalidInput."""
    for name, given in (("start", start), ("end", end)):
        if given is not None and given.tzinfo is None:
            fault = FieldProblem(f"$.{name}", "must name its offset from UTC")
            raise InvalidInput(f"{fault.path} {fault.message}", fields=[fault])
    last = now + 1 if end is None else min(micros(end), now + 1)
    if start is not None and micros(start) >= last:
        fault = FieldProblem("$.start", "must lie before the end, and in the past")
        raise InvalidInput(f"{fault.path} {fault.message}", fields=[fault])
    return (None if start is None else micros(start)), last
