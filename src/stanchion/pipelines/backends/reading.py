"""Looks at runs that change nothing."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, exists, func, select

from ..ports import Asked, BadRow, Expired, RunRow, ScheduleRow
from .rows import run_of
from .tables import bad_rows, kept, runs, schedules, steps

_reasons = msgspec.json.Decoder(list[str])


def listed(connection: Connection, tenant: str, asked: Asked) -> list[RunRow]:
    """Runs by descending id: newest first."""
    query = select(runs).where(runs.c.tenant == tenant)
    for column, value in (
        (runs.c.pipeline, asked.pipeline),
        (runs.c.status, asked.status),
        (runs.c.parent, asked.parent),
    ):
        if value is not None:
            query = query.where(column == value)
    if asked.before is not None:
        query = query.where(runs.c.id < asked.before)
    return [run_of(row) for row in connection.execute(query.order_by(runs.c.id.desc()).limit(asked.limit)).mappings()]


def waits(connection: Connection, tenant: str, ids: Sequence[str]) -> dict[str, list[str]]:
    """Names of the signals that parked runs await; a plain sleep has none."""
    found: dict[str, list[str]] = {}
    query = select(steps.c.run, steps.c.awaits).where(
        steps.c.tenant == tenant, steps.c.run.in_(ids), steps.c.status == "waiting", steps.c.awaits != ""
    )
    for run, name in connection.execute(query.order_by(steps.c.number)):
        found.setdefault(run, []).append(name)
    return found


def bad(connection: Connection, tenant: str, run: str, limit: int, record: str | None) -> list[tuple[str, BadRow, int]]:
    """Rows set aside."""
    chosen = () if record is None else (bad_rows.c.record == record,)
    query = (
        select(bad_rows)
        .where(bad_rows.c.tenant == tenant, bad_rows.c.run == run, *chosen)
        .order_by(bad_rows.c.at, bad_rows.c.step, bad_rows.c.place)
        .limit(limit)
    )
    return [
        (row["step"], BadRow(row["record"], tuple(_reasons.decode(row["reasons"])), row["row"]), row["at"])
        for row in connection.execute(query).mappings()
    ]


def counts(connection: Connection, tenant: str) -> dict[tuple[str, str], int]:
    """Runs by queue and status."""
    query = (
        select(runs.c.queue, runs.c.status, func.count())
        .where(runs.c.tenant == tenant)
        .group_by(runs.c.queue, runs.c.status)
    )
    return {(queue, status): number for queue, status, number in connection.execute(query)}


def children(connection: Connection, tenant: str, parent: str) -> dict[str, int]:
    """Runs below one, by status."""
    query = (
        select(runs.c.status, func.count().label("number"))
        .where(runs.c.tenant == tenant, runs.c.parent == parent)
        .group_by(runs.c.status)
    )
    return {row.status: row.number for row in connection.execute(query)}


def kept_answer(connection: Connection, tenant: str, key: str, now: int) -> tuple[str | None, str] | None:
    """An answer that has not expired."""
    row = connection.execute(
        select(kept.c.output, kept.c.blob).where(kept.c.tenant == tenant, kept.c.key == key, kept.c.expires > now)
    ).first()
    return None if row is None else (row.output, row.blob)


def expired(connection: Connection, now: int, limit: int) -> list[Expired]:
    """Kept answers whose time is over."""
    found = connection.execute(select(kept.c.tenant, kept.c.key, kept.c.blob).where(kept.c.expires <= now).limit(limit))
    return [Expired(tenant, key, blob) for tenant, key, blob in found]


def schedule_rows(connection: Connection, tenant: str) -> list[ScheduleRow]:
    """The state of every schedule."""
    found = connection.execute(select(schedules).where(schedules.c.tenant == tenant)).mappings()
    return [ScheduleRow(row["tenant"], row["name"], row["next"], row["last"], row["paused"]) for row in found]


def old(connection: Connection, before: int, limit: int) -> list[tuple[str, str]]:
    """Runs that ended before a moment and whose parent, if they had one, is gone: it reads their answers again."""
    above = runs.alias()
    parent = exists().where(above.c.tenant == runs.c.tenant, above.c.id == runs.c.parent)
    query = select(runs.c.tenant, runs.c.id).where(runs.c.ended < before, ~parent).order_by(runs.c.ended).limit(limit)
    return [(tenant, run) for tenant, run in connection.execute(query)]
