"""Rollouts in SQL: every change in one transaction with its event, under the revision that it was made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Table, and_, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from ...core.clock import micros, moment
from ...core.context import Context, system_context
from ...core.errors import Conflict
from ...core.storage import Database
from ..contract import Difference, RolloutEvent
from .counting import SECONDS, VALUES, Tally
from .evidence import Totals
from .records import Record, columns, record_of
from .sequences import Moments
from .tables import bins, cells, differences, events, leases, rollouts

_DIFFERENCES = 100
_KINDS: Mapping[str, int] = {"seconds": SECONDS, "values": VALUES}


@dataclass(frozen=True, slots=True)
class Counted:
    """One process's totals of one arm in one step."""

    tenant: str
    rollout: str
    step: int
    arm: str
    tally: Tally


@dataclass(frozen=True, slots=True)
class Disagreed:
    """One difference that a process saw."""

    tenant: str
    rollout: str
    difference: Difference


class RolloutStore:
    """`holder` names this process in what it writes."""

    def __init__(self, database: Database, *, holder: str) -> None:
        self._database = database
        self.holder = holder

    async def begin(self, ctx: Context, record: Record) -> None:
        """Store a new rollout. Raises Conflict if the model has one that has not ended."""

        def work(connection: Connection) -> None:
            this = and_(rollouts.c.tenant == record.tenant, rollouts.c.model == record.rollout.model, rollouts.c.live)
            other = connection.execute(select(rollouts.c.id).where(this)).scalar()
            if other is not None:
                raise _busy(record)
            try:
                connection.execute(insert(rollouts).values(columns(record)))
            except IntegrityError as error:
                # On PostgreSQL another process may have come in between; the index is what decides.
                raise _busy(record) from error
            _told(connection, record, ctx.principal)

        await self._database.write(ctx, work)

    async def change(self, ctx: Context, before: Record, after: Record) -> None:
        """Store the next revision. Raises Conflict if the stored one is not the one it was made from."""

        def work(connection: Connection) -> None:
            this = and_(
                rollouts.c.tenant == before.tenant,
                rollouts.c.id == before.rollout.id,
                rollouts.c.revision == before.rollout.revision,
            )
            if not connection.execute(update(rollouts).where(this).values(columns(after))).rowcount:
                raise Conflict(f"the rollout of {before.rollout.model} was changed by somebody else meanwhile")
            _told(connection, after, ctx.principal)

        await self._database.write(ctx, work)

    async def present(self, now: datetime) -> list[Record]:
        """Every tenant's rollouts that have not ended, or whose former version is still to be held."""
        wanted = or_(rollouts.c.live, rollouts.c.warm_until > micros(now))
        query = select(rollouts).where(wanted).order_by(rollouts.c.started_at)
        return await self._database.read(lambda connection: [record_of(row) for row in connection.execute(query)])

    async def newest(self, tenant: str, model: str, rollout: str = "") -> Record | None:
        """The model's newest rollout, or the one of that id."""
        this = and_(rollouts.c.tenant == tenant, rollouts.c.model == model)
        named = rollouts.c.id == rollout if rollout else this
        order = (rollouts.c.live.desc(), rollouts.c.started_at.desc())
        query = select(rollouts).where(this, named).order_by(*order).limit(1)
        found = await self._database.read(lambda connection: connection.execute(query).first())
        return None if found is None else record_of(found)

    async def tried(self, tenant: str, model: str, candidate: str) -> bool:
        """Whether there was ever a rollout of this version."""
        this = and_(rollouts.c.tenant == tenant, rollouts.c.model == model, rollouts.c.candidate == candidate)
        query = select(rollouts.c.id).where(this).limit(1)
        return await self._database.read(lambda connection: connection.execute(query).first() is not None)

    async def listed(self, tenant: str, model: str, limit: int) -> list[Record]:
        """Rollouts of one model or of all, the newest first."""
        of_model = [rollouts.c.model == model] if model else []
        query = select(rollouts).where(rollouts.c.tenant == tenant, *of_model)
        query = query.order_by(rollouts.c.started_at.desc()).limit(limit)
        return await self._database.read(lambda connection: [record_of(row) for row in connection.execute(query)])

    async def history(self, record: Record) -> list[RolloutEvent]:
        """Every change, the newest first."""
        this = and_(events.c.tenant == record.tenant, events.c.rollout == record.rollout.id)
        query = select(events).where(this).order_by(events.c.revision.desc()).limit(200)

        def work(connection: Connection) -> list[RolloutEvent]:
            rows = connection.execute(query)
            return [RolloutEvent(moment(row.at), row.state, row.step, row.by, row.reason) for row in rows]

        return await self._database.read(work)

    async def differences(self, record: Record, limit: int = 20) -> list[Difference]:
        """The largest differences."""
        this = and_(differences.c.tenant == record.tenant, differences.c.rollout == record.rollout.id)
        query = select(differences).where(this).order_by(differences.c.size.desc()).limit(limit)

        def work(connection: Connection) -> list[Difference]:
            rows = connection.execute(query)
            return [Difference(moment(row.at), row.request_id, row.control, row.candidate, row.size) for row in rows]

        return await self._database.read(work)

    async def totals(self, record: Record, step: int) -> dict[str, Totals]:
        """What all processes counted in a step, by arm."""
        tenant, rollout = record.tenant, record.rollout.id
        return await self._database.read(lambda connection: _totals(connection, tenant, rollout, step))

    async def spent(self, record: Record, arm: str, *, but: str = "") -> int:
        """Calls that the arm failed in all steps, as all processes counted them; `but` leaves one process out."""
        this = and_(
            cells.c.tenant == record.tenant,
            cells.c.rollout == record.rollout.id,
            cells.c.arm == arm,
            cells.c.holder != but,
        )
        query = select(func.coalesce(func.sum(cells.c.failures), 0)).where(this)
        return int(await self._database.read(lambda connection: connection.execute(query).scalar_one()))

    async def keep(self, counted: Sequence[Counted], disagreed: Sequence[Disagreed]) -> None:
        """Write this process's totals, whole: written twice they count once."""
        if not counted and not disagreed:
            return
        cell_rows = [_cell(each, self.holder) for each in counted]
        bin_rows = [row for each in counted for row in _bins(each, self.holder)]
        seen = [_difference(each) for each in disagreed]

        def work(connection: Connection) -> None:
            _upsert(connection, cells, cell_rows, ("tenant", "rollout", "step", "arm", "holder"))
            _upsert(connection, bins, bin_rows, ("tenant", "rollout", "step", "arm", "holder", "kind", "bin"))
            _upsert(connection, differences, seen, ("tenant", "rollout", "request_id"))
            for tenant, rollout in {(each.tenant, each.rollout) for each in disagreed}:
                _prune(connection, tenant, rollout)

        # No effect of anybody's: what was seen is no decision, so the audit log does not tell of it.
        await self._database.write(system_context("", task="rollout-totals"), work)

    async def lead(self, name: str, now: datetime, seconds: float) -> bool:
        """Whether this process holds the lease, taken or renewed for so many seconds."""

        def work(connection: Connection) -> bool:
            until = micros(now + timedelta(seconds=seconds))
            free = or_(leases.c.holder == self.holder, leases.c.until < micros(now))
            taken = update(leases).where(leases.c.name == name, free).values(holder=self.holder, until=until)
            if connection.execute(taken).rowcount:
                return True
            if connection.execute(select(leases.c.holder).where(leases.c.name == name)).first() is not None:
                return False
            row = {"name": name, "holder": self.holder, "until": until}
            made = _dialect(connection)(leases).values(row).on_conflict_do_nothing()
            return bool(connection.execute(made).rowcount)

        return await self._database.write(system_context("", task="rollout-lease"), work)

    async def release(self, name: str) -> None:
        """Give the lease back, so that another process need not wait for its end."""
        mine = and_(leases.c.name == name, leases.c.holder == self.holder)
        statement = update(leases).where(mine).values(until=0)
        await self._database.write(
            system_context("", task="rollout-lease"), lambda connection: connection.execute(statement).rowcount
        )


def _busy(record: Record) -> Conflict:
    return Conflict(
        f"{record.rollout.model} has a rollout that has not ended",
        next_step="Promote, abort or roll it back first.",
    )


def _told(connection: Connection, record: Record, by: str) -> None:
    rollout = record.rollout
    row = {
        "tenant": record.tenant,
        "rollout": rollout.id,
        "revision": rollout.revision,
        "at": micros(rollout.changed_at),
        "state": rollout.state,
        "step": rollout.step,
        "by": by,
        "reason": rollout.reason,
    }
    connection.execute(insert(events).values(row))


def _totals(connection: Connection, tenant: str, rollout: str, step: int) -> dict[str, Totals]:
    def of(table: Table) -> Any:
        return and_(table.c.tenant == tenant, table.c.rollout == rollout, table.c.step == step)

    summed = [func.sum(column).label(column.name) for column in cells.c if column.name in _SUMMED]
    query = select(cells.c.arm, *summed).where(of(cells)).group_by(cells.c.arm)
    sums = {row.arm: row for row in connection.execute(query)}
    histograms: dict[tuple[str, str], list[int]] = {}
    grouped = select(bins.c.arm, bins.c.kind, bins.c.bin, func.sum(bins.c.n).label("n")).where(of(bins))
    for row in connection.execute(grouped.group_by(bins.c.arm, bins.c.kind, bins.c.bin)):
        histograms.setdefault((row.arm, row.kind), [0] * _KINDS[row.kind])[row.bin] = int(row.n)
    units: dict[str, dict[str, int]] = {}
    for arm, holder, number in connection.execute(select(cells.c.arm, cells.c.holder, cells.c.units).where(of(cells))):
        units.setdefault(arm, {})[holder] = number
    return {
        arm: Totals(
            requests=int(row.requests),
            failures=int(row.failures),
            times=Moments(int(row.timed), row.log_seconds, row.log_squares),
            seconds=histograms.get((arm, "seconds"), [0] * SECONDS),
            values=histograms.get((arm, "values"), [0] * VALUES),
            units=units.get(arm, {}),
            compared=int(row.compared),
            disagreements=int(row.disagreements),
            difference=row.difference,
            dropped=int(row.dropped),
        )
        for arm, row in sums.items()
    }


_SUMMED = frozenset(
    {
        "requests",
        "failures",
        "timed",
        "log_seconds",
        "log_squares",
        "compared",
        "disagreements",
        "difference",
        "dropped",
    }
)


def _key(each: Counted, holder: str) -> dict[str, object]:
    return {
        "tenant": each.tenant,
        "rollout": each.rollout,
        "step": each.step,
        "arm": each.arm,
        "holder": holder,
    }


def _cell(each: Counted, holder: str) -> dict[str, object]:
    tally = each.tally
    counts: dict[str, object] = {name: getattr(tally, name) for name in _SUMMED}
    return {**_key(each, holder), **counts, "units": tally.different}


def _bins(each: Counted, holder: str) -> list[dict[str, object]]:
    found = {"seconds": each.tally.seconds, "values": each.tally.values}
    return [
        {**_key(each, holder), "kind": kind, "bin": place, "n": count}
        for kind, counts in found.items()
        for place, count in enumerate(counts)
        if count
    ]


def _difference(each: Disagreed) -> dict[str, object]:
    found = each.difference
    return {
        "tenant": each.tenant,
        "rollout": each.rollout,
        "request_id": found.request_id,
        "at": micros(found.at),
        "control": found.control,
        "candidate": found.candidate,
        "size": found.size,
    }


def _prune(connection: Connection, tenant: str, rollout: str) -> None:
    """Keep the largest differences only."""
    this = and_(differences.c.tenant == tenant, differences.c.rollout == rollout)
    order = (differences.c.size.desc(), differences.c.at.desc())
    beyond = select(differences.c.request_id).where(this).order_by(*order).offset(_DIFFERENCES).limit(1000)
    ids = list(connection.execute(beyond).scalars())
    if ids:
        connection.execute(differences.delete().where(this, differences.c.request_id.in_(ids)))


def _dialect(connection: Connection) -> Callable[[Table], Any]:
    return postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert


def _upsert(connection: Connection, table: Table, rows: Sequence[Mapping[str, object]], key: Sequence[str]) -> None:
    if not rows:
        return
    statement = _dialect(connection)(table)
    new = {name: statement.excluded[name] for name in rows[0] if name not in key}
    connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=new), [*rows])
