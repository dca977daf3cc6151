"""Batches and the results of their lines in SQL. A process writes under the epoch that it took the batch up with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, or_, select, tuple_, update

from ...core.clock import Clock, micros, moment
from ...core.context import Context, system_context
from ...core.errors import Conflict, FieldProblem, InvalidInput, NotFound
from ...core.storage import Database
from ..contract.batches import BatchFault, CallBatch, CallBatchState
from ..contract.calls import Usage
from ..money.subjects import storable
from .files import OPEN, Finished
from .tables import USAGE, batches, files, lines

_SWEPT = 200
_UNUSED = Usage()
_json = msgspec.json.encode


class TakenOver(Exception):
    """Another process has taken the batch up: this one leaves it alone."""


@dataclass(frozen=True, slots=True)
class Held:
    """A batch with what only its work needs."""

    tenant: str
    principal: str
    author: str
    epoch: int
    tags: dict[str, str]
    batch: CallBatch


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a line: its line of the output or error file, sealed; `usage` and `cost` of what answered."""

    line: int
    good: bool
    sealed: bytes
    usage: Usage = _UNUSED
    cost: int = 0


class BatchStore:
    """Transactions over the tables of batches, which must have been prepared."""

    def __init__(self, database: Database, clock: Clock, *, holder: str, lease: float) -> None:
        self._database = database
        self._clock = clock
        self._holder = holder
        self._lease = int(lease * 1e6)

    # -- what callers see and do

    async def add(self, ctx: Context, batch: CallBatch, *, author: str, tags: dict[str, str]) -> CallBatch:
        """Keep a new batch; held by nobody."""
        row = {
            "tenant": ctx.tenant,
            "id": batch.id,
            "principal": ctx.principal,
            "author": author,
            "endpoint": batch.endpoint,
            "input_file": batch.input_file,
            "state": batch.state,
            "metadata": _json(batch.metadata).decode(),
            "tags": _json(tags).decode(),
            "moments": "{}",
            "faults": "[]",
            "created_at": micros(batch.created_at),
            "expires_at": micros(batch.expires_at),
            "output_file": "",
            "error_file": "",
            "holder": "",
        }
        await self._database.write(ctx, lambda connection: connection.execute(insert(batches).values(row)).rowcount)
        return await self.find(ctx, batch.id)

    async def find(self, ctx: Context, batch: str) -> CallBatch:
        """The caller's batch. Raises NotFound."""
        return _batch(await self._row(ctx, batch))

    async def page(self, ctx: Context, *, after: str, limit: int) -> Sequence[CallBatch]:
        """The caller's batches, newest first. Raises InvalidInput, NotFound."""
        if not 1 <= limit <= 100:
            raise InvalidInput("the limit is 1 to 100", fields=[FieldProblem("$.limit", "Expected 1 to 100")])
        c = batches.c
        query = select(batches).where(c.tenant == ctx.tenant, c.principal == ctx.principal)
        if after:
            last = await self._row(ctx, after)
            query = query.where(tuple_(c.created_at, c.id) < tuple_(last.created_at, last.id))
        query = query.order_by(c.created_at.desc(), c.id.desc()).limit(limit)
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return [_batch(row) for row in rows]

    async def cancel(self, ctx: Context, batch: str) -> CallBatch:
        """Ask for its end. Raises NotFound, Conflict."""
        await self._row(ctx, batch)

        def work(connection: Connection) -> Row[Any]:
            row = connection.execute(select(batches).where(_is(ctx.tenant, batch))).one()
            if row.state in ("validating", "in_progress"):
                values = {"state": "cancelling", "moments": self._entered(row, "cancelling")}
                connection.execute(update(batches).where(_is(ctx.tenant, batch)).values(values))
            return connection.execute(select(batches).where(_is(ctx.tenant, batch))).one()

        found = _batch(await self._database.write(ctx, work))
        if found.state not in ("cancelling", "cancelled"):
            raise Conflict(f"the batch {batch} is {found.state}", next_step="Only a batch that goes on is cancelled.")
        return found

    # -- who works on what

    async def claim(self, busy: dict[str, int]) -> Held | None:
        """Take up a batch that nobody works on: the oldest of a tenant of whom this process holds the fewest."""
        c, now = batches.c, self._now()
        free = (c.state.in_(OPEN), c.held_until < now)
        oldest = func.min(c.created_at)
        query = select(c.tenant, oldest).where(*free).group_by(c.tenant).order_by(oldest)
        tenants = [row.tenant for row in await self._database.read(lambda connection: connection.execute(query).all())]
        for tenant in sorted(tenants, key=lambda each: busy.get(each, 0)):
            held = await self._database.write(_worker(tenant), partial(self._taken, tenant, free))
            if held is not None:
                return held
        return None

    def _taken(self, tenant: str, free: Sequence[ColumnElement[bool]], connection: Connection) -> Held | None:
        c = batches.c
        query = select(c.id).where(c.tenant == tenant, *free).order_by(c.created_at, c.id).limit(1)
        found = connection.execute(query).scalar()
        if found is None:
            return None
        mine = {"holder": self._holder, "held_until": self._now() + self._lease, "epoch": c.epoch + 1}
        if not connection.execute(update(batches).where(_is(tenant, found), *free).values(mine)).rowcount:
            return None
        return _held(connection.execute(select(batches).where(_is(tenant, found))).one())

    async def renew(self, held: Held) -> CallBatchState:
        """Go on holding it; its state, which others may have changed. Raises TakenOver."""

        def work(connection: Connection) -> Any:
            until = {"held_until": self._now() + self._lease}
            connection.execute(update(batches).where(_mine(held)).values(until))
            return connection.execute(select(batches.c.state).where(_mine(held))).scalar()

        state: CallBatchState | None = await self._database.write(_worker(held.tenant), work)
        if state is None:
            raise TakenOver
        return state

    async def let_go(self, held: Held) -> None:
        """Leave it to others, at once."""
        statement = update(batches).where(_mine(held)).values(held_until=0, holder="")
        await self._database.write(_worker(held.tenant), lambda each: each.execute(statement).rowcount)

    # -- work

    async def done(self, held: Held) -> set[int]:
        """The lines that have a result."""
        query = select(lines.c.line).where(_of(held))
        return set(await self._database.read(lambda each: each.execute(query).scalars().all()))

    async def validated(self, held: Held, total: int, bad: Sequence[Result]) -> None:
        """Keep how many lines there are, and what is wrong with some. Raises TakenOver."""

        def work(connection: Connection) -> None:
            row = self._owned(connection, held)
            connection.execute(delete(lines).where(_of(held)))
            if bad:
                connection.execute(insert(lines), [_line(held, each) for each in bad])
            values: dict[str, Any] = {"total": total, "failed": len(bad)}
            if row.state == "validating":
                values |= {"state": "in_progress", "moments": self._entered(row, "in_progress")}
            connection.execute(update(batches).where(_mine(held)).values(values))

        await self._database.write(_worker(held.tenant), work)

    async def record(self, held: Held, result: Result) -> None:
        """Keep what became of a line. Raises TakenOver."""
        used, c = result.usage, batches.c

        def work(connection: Connection) -> None:
            self._owned(connection, held)
            connection.execute(insert(lines), [_line(held, result)])
            counter = "completed" if result.good else "failed"
            values = {
                counter: c[counter] + 1,
                "cost": c.cost + result.cost,
                **{name: c[name] + getattr(used, name) for name in USAGE},
            }
            connection.execute(update(batches).where(_mine(held)).values(values))

        await self._database.write(_worker(held.tenant), work)

    async def results(self, held: Held, after: int, limit: int) -> Sequence[tuple[int, bool, bytes]]:
        """Results behind a line, in the order of lines."""
        c = lines.c
        query = select(c.line, c.good, c.result).where(_of(held), c.line > after).order_by(c.line).limit(limit)
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return [(row.line, bool(row.good), bytes(row.result)) for row in rows]

    async def enter(self, held: Held, state: CallBatchState) -> None:
        """Bring it into a state on its way. Raises TakenOver."""

        def work(connection: Connection) -> None:
            row = self._owned(connection, held)
            values = {"state": state, "moments": self._entered(row, state)}
            connection.execute(update(batches).where(_mine(held)).values(values))

        await self._database.write(_worker(held.tenant), work)

    async def end(
        self,
        held: Held,
        state: CallBatchState,
        *,
        output: Finished | None = None,
        errors: Finished | None = None,
        unmade: int = 0,
        faults: Sequence[BatchFault] = (),
    ) -> None:
        """Its last state, with its files, which are seen from here on; the results of lines go, as they are in them.

        `unmade` lines were never tried. Raises TakenOver.
        """

        def work(connection: Connection) -> None:
            row = self._owned(connection, held)
            values = {
                "state": state,
                "moments": self._entered(row, state),
                "output_file": "" if output is None else output.file.id,
                "error_file": "" if errors is None else errors.file.id,
                "failed": batches.c.failed + unmade,
                "faults": _json(faults).decode(),
                "holder": "",
                "held_until": 0,
            }
            connection.execute(update(batches).where(_mine(held)).values(values))
            connection.execute(delete(lines).where(_of(held)))
            for finished in (output, errors):
                if finished is not None:
                    connection.execute(finished.statement)

        await self._database.write(_worker(held.tenant), work)

    async def sweep(self, older_than: int) -> int:
        """Remove batches that have ended and whose files are gone; how many went."""
        c = batches.c
        kept = select(files.c.id).where(files.c.tenant == c.tenant, or_(*[files.c.id == n for n in _files()])).exists()
        query = select(c.tenant, c.id).where(c.created_at < older_than, c.state.not_in(OPEN), ~kept).limit(_SWEPT)
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        for tenant, batch in rows:
            await self._database.write(_worker(tenant), partial(_deleted, tenant, batch))
        return len(rows)

    def _owned(self, connection: Connection, held: Held) -> Row[Any]:
        row = connection.execute(select(batches).where(_mine(held))).first()
        if row is None:
            raise TakenOver
        return row

    async def _row(self, ctx: Context, batch: str) -> Row[Any]:
        query = select(batches).where(_is(ctx.tenant, storable(batch)), batches.c.principal == ctx.principal)
        row = await self._database.read(lambda connection: connection.execute(query).first())
        if row is None:
            raise NotFound(f"there is no batch {batch[:64]!r}", next_step="List your batches with GET /v1/batches.")
        return row

    def _entered(self, row: Row[Any], state: CallBatchState) -> str:
        return _json({**msgspec.json.decode(row.moments), state: self._now()}).decode()

    def _now(self) -> int:
        return micros(self._clock.now())


def _files() -> Sequence[ColumnElement[Any]]:
    return batches.c.input_file, batches.c.output_file, batches.c.error_file


def _is(tenant: str, batch: str) -> ColumnElement[bool]:
    return (batches.c.tenant == tenant) & (batches.c.id == batch)


def _deleted(tenant: str, batch: str, connection: Connection) -> int:
    return connection.execute(delete(batches).where(_is(tenant, batch))).rowcount


def _mine(held: Held) -> ColumnElement[bool]:
    return _is(held.tenant, held.batch.id) & (batches.c.epoch == held.epoch)


def _of(held: Held) -> ColumnElement[bool]:
    return (lines.c.tenant == held.tenant) & (lines.c.batch == held.batch.id)


def _line(held: Held, result: Result) -> dict[str, Any]:
    return {
        "tenant": held.tenant,
        "batch": held.batch.id,
        "line": result.line,
        "good": result.good,
        "result": result.sealed,
    }


def _worker(tenant: str) -> Context:
    return system_context(tenant, task="gateway-batches")


def _held(row: Row[Any]) -> Held:
    tags = msgspec.json.decode(row.tags, type=dict[str, str])
    return Held(row.tenant, row.principal, row.author, row.epoch, tags, _batch(row))


def _batch(row: Row[Any]) -> CallBatch:
    moments = msgspec.json.decode(row.moments, type=dict[CallBatchState, int])
    return CallBatch(
        id=row.id,
        endpoint=row.endpoint,
        input_file=row.input_file,
        state=row.state,
        created_at=moment(row.created_at),
        expires_at=moment(row.expires_at),
        metadata=msgspec.json.decode(row.metadata, type=dict[str, str]),
        moments={state: moment(at) for state, at in moments.items()},
        total=row.total,
        completed=row.completed,
        failed=row.failed,
        usage=Usage(row.tokens_in, row.tokens_out, cached=row.cached, reasoning=row.reasoning),
        cost=row.cost,
        output_file=row.output_file,
        error_file=row.error_file,
        faults=tuple(msgspec.json.decode(row.faults, type=list[BatchFault])),
    )
