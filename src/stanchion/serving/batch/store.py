"""Jobs and finished chunks in SQL. A chunk's row is written after its file is safe, never before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from sqlalchemy import Connection, and_, delete, insert, select, update

from ...core.clock import Clock, micros, moment
from ...core.context import Context, system_context
from ...core.errors import Conflict, NotFound
from ...core.storage import Database
from ..contract import BatchJob, BatchOrder, BatchProblem, BatchReport, BatchState
from .tables import chunks, jobs

OPEN: tuple[BatchState, ...] = ("queued", "running", "cancelling")
_MILLION = 1_000_000


class Facts(msgspec.Struct, frozen=True):
    """What a chunk counted. `bins` are the counts of each column's bins, the last one of absent values.

    `total` is the sum of the predicted probabilities.
    """

    rows: int
    predicted: int
    quarantined: int
    problems: dict[str, int]
    histogram: list[int]
    labels: dict[str, int]
    total: float
    bins: dict[str, list[int]]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A finished chunk: the size and digest of its file, and what it counted."""

    number: int
    size: int
    sha256: str
    facts: Facts


@dataclass(frozen=True, slots=True)
class Held:
    """A job with what only the service needs: the pinned manifest, the input's fingerprint, seconds worked so far."""

    tenant: str
    job: BatchJob
    manifest: str
    fingerprint: str
    background: bool
    resumed: int
    seconds: float


class BatchStore:
    """Transactions over the tables of batch jobs, which must have been prepared."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def add(self, ctx: Context, held: Held) -> None:
        """Keep a new job."""
        job = held.job
        row = {
            "tenant": held.tenant,
            "id": job.id,
            "key": job.key,
            "model": job.model,
            "version": job.version,
            "manifest": held.manifest,
            "state": job.state,
            "background": held.background,
            "order": msgspec.json.encode(job.order),
            "fingerprint": held.fingerprint,
            "requested_by": job.requested_by,
            "created_at": micros(job.created_at),
            "updated_at": micros(job.updated_at),
            "rows_total": job.rows_total,
            "rows": 0,
            "quarantined": 0,
            "chunks": 0,
            "resumed": 0,
            "seconds": 0,
        }
        await self._database.write(ctx, lambda connection: connection.execute(insert(jobs).values(row)).rowcount)

    async def find(self, tenant: str, job: str) -> Held:
        """One job. Raises NotFound."""
        found = await self._select(and_(jobs.c.tenant == tenant, jobs.c.id == job), 1)
        if not found:
            raise NotFound(f"there is no batch job {job[:64]}")
        return found[0]

    async def by_key(self, tenant: str, key: str) -> Held | None:
        """The newest job of that key."""
        found = await self._select(and_(jobs.c.tenant == tenant, jobs.c.key == key), 1)
        return found[0] if found else None

    async def newest(self, tenant: str, limit: int) -> Sequence[Held]:
        """The newest jobs, newest first."""
        return await self._select(jobs.c.tenant == tenant, limit)

    async def waiting(self) -> Sequence[Held]:
        """The background jobs of every tenant that have not ended, oldest first."""
        found = await self._select(and_(jobs.c.background.is_(True), jobs.c.state.in_(OPEN)), 1000)
        return found[::-1]

    async def chunks(self, held: Held) -> list[Chunk]:
        """The finished chunks in order."""
        mine = and_(chunks.c.tenant == held.tenant, chunks.c.job == held.job.id)
        rows = await self._database.read(
            lambda connection: connection.execute(select(chunks).where(mine).order_by(chunks.c.chunk)).all()
        )
        return [Chunk(row.chunk, row.size, row.sha256, msgspec.json.decode(row.facts, type=Facts)) for row in rows]

    async def begin(self, held: Held, kept: Sequence[Chunk], *, resumed: bool) -> Held:
        """The job, now running, with these first chunks; all others are forgotten."""
        mine, its = self._this(held), and_(chunks.c.tenant == held.tenant, chunks.c.job == held.job.id)

        def work(connection: Connection) -> None:
            connection.execute(delete(chunks).where(its, chunks.c.chunk >= len(kept)))
            values: dict[str, Any] = {
                "updated_at": self._now(),
                "resumed": jobs.c.resumed + int(resumed),
                "rows": sum(chunk.facts.rows for chunk in kept),
                "quarantined": sum(chunk.facts.quarantined for chunk in kept),
                "chunks": len(kept),
            }
            # A wish to cancel outlives the process that was to fulfil it.
            running = and_(mine, jobs.c.state != "cancelling")
            connection.execute(update(jobs).where(mine).values(**values))
            connection.execute(update(jobs).where(running).values(state="running", problem=None))

        await self._database.write(_system(held), work)
        return await self.find(held.tenant, held.job.id)

    async def record(self, held: Held, chunk: Chunk, *, seconds: float) -> BatchJob:
        """Keep a finished chunk; the job as it stands then, perhaps asked to cancel meanwhile."""
        facts = chunk.facts

        def work(connection: Connection) -> Any:
            connection.execute(
                insert(chunks).values(
                    tenant=held.tenant,
                    job=held.job.id,
                    chunk=chunk.number,
                    size=chunk.size,
                    sha256=chunk.sha256,
                    facts=msgspec.json.encode(facts),
                )
            )
            connection.execute(
                update(jobs)
                .where(self._this(held))
                .values(
                    rows=jobs.c.rows + facts.rows,
                    quarantined=jobs.c.quarantined + facts.quarantined,
                    chunks=chunk.number + 1,
                    seconds=jobs.c.seconds + int(seconds * _MILLION),
                    updated_at=self._now(),
                )
            )
            return connection.execute(select(jobs).where(self._this(held))).one()

        return _held(await self._database.write(_system(held), work)).job

    async def end(
        self,
        ctx: Context,
        held: Held,
        state: BatchState,
        *,
        problem: BatchProblem | None = None,
        report: BatchReport | None = None,
        forget: bool = False,
    ) -> BatchJob:
        """Keep how the job ended; with `forget` its chunks are no longer wanted."""
        values = {
            "state": state,
            "updated_at": self._now(),
            "problem": None if problem is None else msgspec.json.encode(problem),
            "report": None if report is None else msgspec.json.encode(report),
            **({"chunks": 0} if forget else {}),
        }

        def work(connection: Connection) -> Any:
            if forget:
                connection.execute(delete(chunks).where(chunks.c.tenant == held.tenant, chunks.c.job == held.job.id))
            connection.execute(update(jobs).where(self._this(held)).values(**values))
            return connection.execute(select(jobs).where(self._this(held))).one()

        return _held(await self._database.write(ctx, work)).job

    async def cancel(self, ctx: Context, held: Held, *, running: bool) -> BatchJob:
        """Ask for the end of a job, or end it at once if nothing works on it. Raises Conflict if it has ended."""

        def work(connection: Connection) -> Any:
            state = "cancelling" if running else "cancelled"
            mine = and_(self._this(held), jobs.c.state.in_((*OPEN, "failed")))
            if not connection.execute(update(jobs).where(mine).values(state=state, updated_at=self._now())).rowcount:
                raise Conflict(f"the batch job {held.job.id} has ended already")
            if not running:
                connection.execute(delete(chunks).where(chunks.c.tenant == held.tenant, chunks.c.job == held.job.id))
            return connection.execute(select(jobs).where(self._this(held))).one()

        return _held(await self._database.write(ctx, work)).job

    def _this(self, held: Held) -> Any:
        return and_(jobs.c.tenant == held.tenant, jobs.c.id == held.job.id)

    def _now(self) -> int:
        return micros(self._clock.now())

    async def _select(self, where: Any, limit: int) -> list[Held]:
        wanted = select(jobs).where(where).order_by(jobs.c.created_at.desc(), jobs.c.id.desc()).limit(limit)
        return [_held(row) for row in await self._database.read(lambda connection: connection.execute(wanted).all())]


def _system(held: Held) -> Context:
    """The Context of progress, which is no act of a person and so no audit event of its own."""
    return system_context(held.tenant, task="batch")


def _held(row: Any) -> Held:
    job = BatchJob(
        id=row.id,
        key=row.key,
        model=row.model,
        version=row.version,
        state=row.state,
        order=msgspec.json.decode(row.order, type=BatchOrder),
        requested_by=row.requested_by,
        created_at=moment(row.created_at),
        updated_at=moment(row.updated_at),
        rows_total=row.rows_total,
        rows=row.rows,
        quarantined=row.quarantined,
        chunks=row.chunks,
        problem=None if row.problem is None else msgspec.json.decode(row.problem, type=BatchProblem),
        report=None if row.report is None else msgspec.json.decode(row.report, type=BatchReport),
    )
    return Held(row.tenant, job, row.manifest, row.fingerprint, row.background, row.resumed, row.seconds / _MILLION)


def seen(job: BatchJob, *, worked_on: bool) -> BatchJob:
    """The job as others see it: one that nobody works on although it should be is interrupted."""
    return job if worked_on or job.state != "running" else replace(job, state="interrupted")
