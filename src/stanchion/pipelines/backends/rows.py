"""Rows as values, values as rows, and the fence that every write to a held run passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import msgspec
from sqlalchemy import Connection, RowMapping, and_, bindparam, select
from sqlalchemy.sql import ColumnElement

from ...core.errors import NotFound
from ..contract import RunFault
from ..ports import Executor, Hold, RunRow, StepRow, Superseded
from .tables import runs, steps

_RUN = tuple(each.name for each in fields(RunRow))
_STEP = tuple(each.name for each in fields(StepRow))
_fault = msgspec.json.Decoder(RunFault)
_texts = msgspec.json.Decoder(list[str])
_pairs = msgspec.json.Decoder(list[tuple[str, str]])


def run_of(row: RowMapping) -> RunRow:
    """A stored run."""
    return RunRow(**{name: row[name] for name in _RUN})


def run_values(row: RunRow) -> dict[str, Any]:
    """What is stored of a run."""
    return {name: getattr(row, name) for name in _RUN}


def step_of(row: RowMapping) -> StepRow:
    """A stored step."""
    values = {name: row[name] for name in _STEP}
    values["error"] = None if row["error"] is None else _fault.decode(row["error"])
    values["notes"] = () if row["notes"] is None else tuple(_texts.decode(row["notes"]))
    return StepRow(**values)


def step_values(hold: Hold, row: StepRow) -> dict[str, Any]:
    """What is stored of a step."""
    values = {name: getattr(row, name) for name in _STEP}
    values["error"] = None if row.error is None else text(row.error)
    values["notes"] = text(list(row.notes)) if row.notes else None
    return {"tenant": hold.tenant, "run": hold.run, **values}


def executor_of(row: RowMapping) -> Executor:
    """A stored process."""
    return Executor(row["id"], row["beat"], tuple(_texts.decode(row["queues"])), tuple(_pairs.decode(row["code"])))


def text(value: object) -> str:
    """A value as JSON text."""
    return msgspec.json.encode(value).decode()


def the_run(tenant: str, run: str) -> ColumnElement[bool]:
    """Which row of `runs` it is."""
    return and_(runs.c.tenant == tenant, runs.c.id == run)


def its_steps(tenant: str, run: str) -> ColumnElement[bool]:
    """Which rows of `steps` are of the run."""
    return and_(steps.c.tenant == tenant, steps.c.run == run)


def fence(connection: Connection, hold: Hold) -> bool:
    """Whether the run is to be cancelled. Raises Superseded unless the hold is the newest.

    The row stays locked until the commit, so that nobody takes the run over between this look and the write.
    """
    found = connection.execute(_FENCE, {"of": hold.tenant, "run": hold.run}).first()
    if found is None or found.epoch != hold.epoch or found.status != "running":
        raise superseded(hold)
    return bool(found.cancelling)


def superseded(hold: Hold) -> Superseded:
    """What a late write is told."""
    return Superseded(f"the run {hold.run} was taken over by another process")


# Built once, as every step of every run looks here.
_FENCE = (
    select(runs.c.epoch, runs.c.status, runs.c.cancelling)
    .where(runs.c.tenant == bindparam("of"), runs.c.id == bindparam("run"))
    .with_for_update()
)


def stored(connection: Connection, tenant: str, run: str, *, lock: bool = False) -> RunRow:
    """One run. Raises NotFound."""
    query = select(runs).where(the_run(tenant, run))
    found = connection.execute(query.with_for_update() if lock else query).mappings().first()
    if found is None:
        raise NotFound(f"there is no run {run!r}", next_step="List the runs with GET /v1/runs.")
    return run_of(found)


def journal(connection: Connection, tenant: str, ids: Sequence[str]) -> dict[str, list[StepRow]]:
    """The steps of runs, by number."""
    found: dict[str, list[StepRow]] = {}
    query = select(steps).where(steps.c.tenant == tenant, steps.c.run.in_(ids)).order_by(steps.c.number, steps.c.step)
    for row in connection.execute(query).mappings():
        found.setdefault(row["run"], []).append(step_of(row))
    return found
