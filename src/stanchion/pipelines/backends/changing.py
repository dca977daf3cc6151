"""What people and other programs do to runs: start, signal, cancel, resume; and what schedules do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from ...core.errors import Conflict
from ..ports import Expired, Hold, News, Outcome, RunRow, ScheduleRow, StepRow, Tale
from .journal import end, give, write
from .rows import its_steps, run_of, run_values, stored, the_run
from .tables import bad_rows, kept, runs, schedules, signals, steps

ENDED = ("done", "failed", "cancelled")


def enqueue(connection: Connection, row: RunRow, journal: Sequence[StepRow], news: News | None) -> tuple[RunRow, bool]:
    """Insert a run, or find the one that has its key."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    made = dialect.insert(runs).values(run_values(row)).on_conflict_do_nothing().returning(runs.c.id)
    if connection.execute(made).first() is None:
        same = (runs.c.tenant == row.tenant, runs.c.pipeline == row.pipeline, runs.c.key == row.key)
        return run_of(connection.execute(select(runs).where(*same)).mappings().one()), False
    for step in journal:
        write(connection, Hold(row.tenant, row.id, 0), step, new=True)
    if news is not None:
        news.tell(connection, [Tale("run.started", row)])
    return row, True


def signal(connection: Connection, tenant: str, run: str, name: str, key: str, value: str, now: int) -> bool:
    """Keep a value for a run that has not ended."""
    row = stored(connection, tenant, run, lock=True)
    mine = (signals.c.tenant == tenant, signals.c.run == run, signals.c.name == name, signals.c.key == key)
    if connection.execute(select(signals.c.key).where(*mine)).first() is not None:
        return False
    if row.status in ENDED:
        raise Conflict(f"the run {run} has ended: it is {row.status}")
    return give(connection, tenant, run, name, key, value, now)


def cancel(connection: Connection, tenant: str, run: str, now: int, news: News | None) -> RunRow:
    """Mark a run and all below it; what has no journal ends at once, the rest is ended by who runs it."""
    row = stored(connection, tenant, run, lock=True)
    if row.status not in ENDED:
        _mark(connection, row, now, news)
    below = select(runs.c.id).where(runs.c.tenant == tenant, runs.c.parent == run, runs.c.status.not_in(ENDED))
    for child in connection.execute(below).scalars().all():
        cancel(connection, tenant, child, now, news)
    return stored(connection, tenant, run)


def _mark(connection: Connection, row: RunRow, now: int, news: News | None) -> None:
    values: dict[str, object] = {"cancelling": True}
    if row.status != "running":
        values["due"] = now
    connection.execute(update(runs).where(the_run(row.tenant, row.id)).values(values))
    begun = connection.execute(select(steps.c.step).where(its_steps(row.tenant, row.id)).limit(1)).first()
    if row.status != "running" and begun is None:
        end(connection, replace(row, cancelling=True), Outcome("cancelled"), now, news)


def resume(connection: Connection, tenant: str, run: str, version: str | None, now: int) -> RunRow:
    """Make an ended run due again, without what failed in it."""
    row = stored(connection, tenant, run, lock=True)
    moved = version is not None and row.version != version and row.status in ("queued", "waiting")
    if row.status not in ("failed", "cancelled") and not moved:
        raise Conflict(f"the run {run} is {row.status}", next_step="Only a failed or cancelled run is resumed.")
    undone = select(steps.c.step).where(its_steps(tenant, run), steps.c.status == "undone").limit(1)
    if connection.execute(undone).first() is not None:
        raise Conflict(f"the run {run} was compensated", next_step="Start a new run, or fork this one.")
    lost = select(steps.c.step).where(its_steps(tenant, run), steps.c.status == "failed")
    connection.execute(
        delete(bad_rows).where(bad_rows.c.tenant == tenant, bad_rows.c.run == run, bad_rows.c.step.in_(lost))
    )
    connection.execute(delete(steps).where(its_steps(tenant, run), steps.c.status == "failed"))
    values = {
        "due": now, "version": version or row.version, "cancelling": False, "stalls": 0, "deadline": None,
        "status": row.status if moved else "queued", "ended": None, "error": None,
    }  # fmt: skip
    connection.execute(update(runs).where(the_run(tenant, run)).values(values))
    return stored(connection, tenant, run)


def plan(connection: Connection, row: ScheduleRow) -> None:
    """Store a schedule's first moment, if it has none."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    values = {"tenant": row.tenant, "name": row.name, "next": row.next, "last": row.last, "paused": row.paused}
    connection.execute(dialect.insert(schedules).values(values).on_conflict_do_nothing())


def fire(connection: Connection, row: ScheduleRow, upto: int, due: Sequence[RunRow], news: News | None) -> bool:
    """Move a schedule on and start its runs, unless another process did."""
    moved = connection.execute(
        update(schedules)
        .where(
            schedules.c.tenant == row.tenant,
            schedules.c.name == row.name,
            schedules.c.next == row.next,
            schedules.c.paused.is_(False),
        )
        .values(next=upto, last=row.next)
    )
    if moved.rowcount == 0:
        return False
    for each in due:
        enqueue(connection, each, (), news)
    return True


def hold(connection: Connection, row: ScheduleRow) -> None:
    """Store whether a schedule is paused and when it fires next."""
    connection.execute(
        update(schedules)
        .where(schedules.c.tenant == row.tenant, schedules.c.name == row.name)
        .values(paused=row.paused, next=row.next)
    )


def drop(connection: Connection, ids: Sequence[tuple[str, str]]) -> None:
    """Remove runs and what belongs to them."""
    for tenant, run in ids:
        for table in (steps, signals, bad_rows):
            connection.execute(delete(table).where(table.c.tenant == tenant, table.c.run == run))
        connection.execute(delete(runs).where(the_run(tenant, run)))


def unkeep(connection: Connection, gone: Sequence[Expired], now: int) -> None:
    """Remove kept answers whose time is still over."""
    for each in gone:
        connection.execute(
            delete(kept).where(kept.c.tenant == each.tenant, kept.c.key == each.key, kept.c.expires <= now)
        )
