"""A run under way: its steps, its waits, its end. Each write shows its hold, or is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, bindparam, delete, insert, or_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from ..contract import RunFault
from ..ports import NEVER, Hold, News, Outcome, Recording, RunRow, StepRow, Tale
from .rows import fence, its_steps, run_of, step_values, stored, text, the_run
from .tables import bad_rows, kept, runs, signals, steps


def record(
    connection: Connection, hold: Hold, recording: Recording, news: News | None, now: int
) -> tuple[StepRow, bool]:
    """Write a step and what belongs to it; the step, and whether the run is to be cancelled."""
    cancelling = fence(connection, hold)
    row = recording.step if recording.work is None else recording.work(connection)
    write(connection, hold, row, new=recording.new)
    if recording.bad:
        connection.execute(
            insert(bad_rows),
            [
                {
                    "tenant": hold.tenant, "run": hold.run, "step": row.step, "place": place, "record": bad.record,
                    "reasons": text(list(bad.reasons)), "row": bad.row, "at": now,
                }
                for place, bad in enumerate(recording.bad)
            ],
        )  # fmt: skip
    if recording.keep is not None:
        values = {"output": row.output, "blob": recording.keep.blob, "expires": recording.keep.expires}
        _put(connection, kept, {"tenant": hold.tenant, "key": recording.keep.key}, values)
    if news is not None and row.status in ("done", "failed"):
        data = {"step": row.step, "stage": row.stage, "status": row.status, "seconds": (row.ended - row.started) / 1e6}
        news.tell(connection, [Tale("run.stage.ended", stored(connection, hold.tenant, hold.run), data)])
    return row, cancelling


def write(connection: Connection, hold: Hold, row: StepRow, *, new: bool) -> None:
    """Insert or replace one line of the journal."""
    values = step_values(hold, row)
    if new:
        connection.execute(_INSERT, values)
    else:
        connection.execute(
            update(steps).where(its_steps(hold.tenant, hold.run), steps.c.step == row.step).values(values)
        )


def _put(connection: Connection, table: Any, key: dict[str, Any], values: dict[str, Any]) -> None:
    made = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table).values(key | values)
    connection.execute(made.on_conflict_do_update(index_elements=list(key), set_=values))


def take(connection: Connection, hold: Hold, row: StepRow, *, new: bool, now: int) -> StepRow:
    """Give the oldest signal of the step's name to the step, or store that it waits."""
    fence(connection, hold)
    mine = (signals.c.tenant == hold.tenant, signals.c.run == hold.run, signals.c.name == row.awaits)
    found = connection.execute(
        select(signals.c.key, signals.c.value)
        .where(*mine, signals.c.taken.is_(None))
        .order_by(signals.c.at, signals.c.key)
        .limit(1)
    ).first()
    if found is None:
        if new:
            write(connection, hold, row, new=True)
        return row
    connection.execute(update(signals).where(*mine, signals.c.key == found.key).values(taken=row.step))
    done = replace(row, status="done", output=found.value, ended=now)
    write(connection, hold, done, new=new)
    return done


def park(connection: Connection, hold: Hold, due: int, now: int) -> None:
    """Let go of the run; at once due if a signal that it awaits is there."""
    fence(connection, hold)
    names = select(steps.c.awaits).where(its_steps(hold.tenant, hold.run), steps.c.status == "waiting")
    there = connection.execute(
        select(signals.c.key)
        .where(
            signals.c.tenant == hold.tenant,
            signals.c.run == hold.run,
            signals.c.taken.is_(None),
            signals.c.name.in_(names),
        )
        .limit(1)
    ).first()
    values = {"status": "waiting", "due": now if there is not None else due, "executor": None}
    connection.execute(update(runs).where(the_run(hold.tenant, hold.run)).values(values))


@dataclass(frozen=True, slots=True)
class End:
    """A run that ended, and when."""

    hold: Hold
    outcome: Outcome
    now: int


def finish(connection: Connection, ends: Sequence[End], news: News | None) -> list[bool]:
    """End runs and wake their parents; of each whether its hold was good, else nothing of it is changed."""
    wanted = sorted((each.hold.tenant, each.hold.run, each.hold.epoch) for each in ends)
    found = {Hold(row["tenant"], row["id"], row["epoch"]): run_of(row) for row in _rows(connection, wanted)}
    good = [each for each in ends if each.hold in found]
    _close(connection, [(found[each.hold], each.outcome, each.now) for each in good])
    for each in good:
        tell_end(connection, found[each.hold], each.outcome, each.now, news)
    return [each.hold in found for each in ends]


def _rows(connection: Connection, wanted: Sequence[tuple[str, str, int]]) -> Sequence[RowMapping]:
    return connection.execute(_HELD_RUNS, {"holds": wanted}).mappings().all()


def end(connection: Connection, row: RunRow, outcome: Outcome, now: int, news: News | None) -> None:
    """Write how a run ended, here and to its parent."""
    _close(connection, [(row, outcome, now)])
    tell_end(connection, row, outcome, now, news)


def _close(connection: Connection, ends: Sequence[tuple[RunRow, Outcome, int]]) -> None:
    if not ends:
        return
    connection.execute(
        _END,
        [
            {
                "of_tenant": row.tenant, "of_run": row.id, "new_status": outcome.status, "new_output": outcome.output,
                "new_blob": outcome.blob, "new_ended": now,
                "new_error": None if outcome.error is None else text(outcome.error),
            }
            for row, outcome, now in ends
        ],
    )  # fmt: skip
    for done, statement in ((True, _FORGET_WAITS), (False, _FAIL_WAITS)):
        whose = [(row.tenant, row.id) for row, outcome, _ in ends if (outcome.status == "done") is done]
        if whose:
            connection.execute(statement, [{"of_tenant": tenant, "of_run": run} for tenant, run in whose])


def tell_end(connection: Connection, row: RunRow, outcome: Outcome, now: int, news: News | None) -> None:
    """Tell others that a run ended, and its parent."""
    if news is not None:
        told = {"status": outcome.status, "error": None if outcome.error is None else outcome.error.code}
        news.tell(connection, [Tale("run.ended", replace(row, status=outcome.status), told)])
    if row.parent is not None:
        value = text({"status": outcome.status, "error": outcome.error})
        give(connection, row.tenant, row.parent, f"child:{row.id}", row.id, value, now)


def give(connection: Connection, tenant: str, run: str, name: str, key: str, value: str, now: int) -> bool:
    """Keep a signal, once for its key, and make the run due if it is parked on that name.

    The run's row is locked first: a run that parks in another transaction sees the signal, or is seen parked.
    """
    row = connection.execute(select(runs).where(the_run(tenant, run)).with_for_update()).mappings().first()
    if row is None:
        return False
    values = {"tenant": tenant, "run": run, "name": name, "key": key, "value": value, "at": now, "taken": None}
    made = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(signals).values(values)
    if connection.execute(made.on_conflict_do_nothing().returning(signals.c.key)).first() is None:
        return False
    if run_of(row).status == "waiting":
        awaited = select(steps.c.step).where(
            its_steps(tenant, run), steps.c.status == "waiting", steps.c.awaits == name
        )
        if connection.execute(awaited.limit(1)).first() is not None:
            connection.execute(update(runs).where(the_run(tenant, run)).values(due=now))
    return True


def write_held(connection: Connection, lines: Sequence[tuple[Hold, StepRow]]) -> list[bool]:
    """Insert new steps; of each whether its hold was good and nobody wants its run cancelled, else it is not stored."""
    if len(lines) == 1:
        [(hold, row)] = lines
        values = {_OWN + name: value for name, value in step_values(hold, row).items()}
        return [connection.execute(_INSERT_HELD, values | {"epoch": hold.epoch}).first() is not None]
    held = _held(connection, {hold for hold, _ in lines})
    good = [hold in held for hold, _ in lines]
    fine = [step_values(hold, row) for (hold, row), holds in zip(lines, good, strict=True) if holds]
    if fine:
        connection.execute(_INSERT, fine)
    return good


def _held(connection: Connection, holds: set[Hold]) -> set[Hold]:
    """Those of the holds that are good, their runs locked until the commit; always in the same order."""
    wanted = sorted((hold.tenant, hold.run, hold.epoch) for hold in holds)
    found = connection.execute(_HELD, {"holds": wanted})
    return {Hold(tenant, run, epoch) for tenant, run, epoch in found}


# Built once: to build a statement costs more than to run it, and what a step costs is what an engine costs.
_OWN = "step_"  # a parameter may not have the name of a column of the statement's own table
_INSERT = insert(steps)
_OPEN = and_(runs.c.status == "running", runs.c.cancelling.is_(False))
_INSERT_HELD = (
    insert(steps)
    .from_select(
        [column.name for column in steps.c],
        select(*(bindparam(_OWN + column.name, type_=column.type) for column in steps.c))
        .select_from(runs)
        .where(runs.c.tenant == bindparam(f"{_OWN}tenant"), runs.c.id == bindparam(f"{_OWN}run"))
        .where(runs.c.epoch == bindparam("epoch"), _OPEN)
        .with_for_update(),
    )
    .returning(steps.c.step)
)
_HELD = (
    select(runs.c.tenant, runs.c.id, runs.c.epoch)
    .where(tuple_(runs.c.tenant, runs.c.id, runs.c.epoch).in_(bindparam("holds", expanding=True)), _OPEN)
    .order_by(runs.c.tenant, runs.c.id)
    .with_for_update()
)
_HELD_RUNS = (
    select(runs)
    .where(tuple_(runs.c.tenant, runs.c.id, runs.c.epoch).in_(bindparam("holds", expanding=True)))
    .where(runs.c.status == "running")
    .order_by(runs.c.tenant, runs.c.id)
    .with_for_update()
)
_END = (
    update(runs)
    .where(runs.c.tenant == bindparam("of_tenant"), runs.c.id == bindparam("of_run"))
    .values({name: bindparam(f"new_{name}") for name in ("status", "output", "blob", "ended", "error")})
    .values(executor=None, due=NEVER)
)
_UNDER_WAY = and_(
    steps.c.tenant == bindparam("of_tenant"),
    steps.c.run == bindparam("of_run"),
    # Not IN: its list is written into the statement, which is then refused for many runs at once.
    or_(steps.c.status == "waiting", steps.c.status == "retrying"),
)
_FORGET_WAITS = delete(steps).where(_UNDER_WAY)
_FAIL_WAITS = (
    update(steps)
    .where(_UNDER_WAY)
    .values(status="failed", error=text(RunFault("cancelled", "the run ended while this step waited")))
)
