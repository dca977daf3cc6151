"""Dead letters: listed, given to their consumer again, or removed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from ...core.clock import micros
from ..backends.statements import Row, many, marks, rows, sql
from ..contract import Selection, matches
from ..ports import SLOTS

_COLUMNS = "consumer, id, type, source, subject, at, lane, attempts, body, history"
_PARK = (
    "INSERT INTO events_parked"
    " (tenant, consumer, place, slot, lane, position, key, due, attempts, body, history)"
    " VALUES (?, ?, ?, ?, ?, ?, '', ?, 0, ?, ?) ON CONFLICT DO NOTHING"
)


@dataclass(frozen=True, slots=True)
class Dead:
    """A row of the dead letters; `at` in microseconds since the epoch."""

    consumer: str
    id: str
    type: str
    source: str
    subject: str
    at: int
    lane: int
    attempts: int
    body: bytes
    history: bytes


@dataclass(frozen=True, slots=True)
class Again:
    """An event to be given out once more: its name among the parked ones, where it lies, and its body."""

    place: str
    lane: int
    position: int
    body: bytes
    history: bytes = b""


def found(
    connection: Connection, tenant: str, consumer: str, selection: Selection, *, limit: int, newest: bool = True
) -> Sequence[Dead]:
    """The dead letters that fit, by the moment of giving up."""
    where, values = _where(tenant, consumer, selection)
    order = "DESC" if newest else "ASC"
    kept: list[Dead] = []
    for row in rows(
        connection,
        sql("SELECT", _COLUMNS, "FROM events_dead WHERE", where, "ORDER BY at", order, ", id", order),
        values,
    ):
        dead = Dead(*row)
        if not selection.types or matches(selection.types, dead.type):
            kept.append(dead)
            if len(kept) == limit:
                break
    return kept


def number(connection: Connection, tenant: str | None, consumer: str) -> int:
    """How many dead letters a consumer has; of all tenants where None is given."""
    whose, values = ("", ()) if tenant is None else (" AND tenant = ?", (tenant,))
    query = sql("SELECT count(*) FROM events_dead WHERE consumer = ?", whose)
    return int(rows(connection, query, (consumer, *values))[0][0])


def discard(connection: Connection, tenant: str, consumer: str, ids: Sequence[str]) -> int:
    """Remove dead letters; how many there were."""
    if not ids:
        return 0
    here = f"tenant = ? AND consumer = ? AND id IN ({marks(len(ids))})"
    present = rows(connection, sql("SELECT id FROM events_dead WHERE", here), (tenant, consumer, *ids))
    many(
        connection,
        "DELETE FROM events_dead WHERE tenant = ? AND consumer = ? AND id = ?",
        [(tenant, consumer, identity) for (identity,) in present],
    )
    return len(present)


def give_again(
    connection: Connection, tenant: str, consumer: str, events: Sequence[Again], *, due: Callable[[int], int]
) -> None:
    """Put events before their consumer once more, the n-th at `due(n)`; they wait for no other of their key."""
    made: list[Row] = [
        (tenant, consumer, e.place, e.lane % SLOTS, e.lane, e.position, due(n), e.body, e.history)
        for n, e in enumerate(events)
    ]
    many(connection, _PARK, made)


def _where(tenant: str, consumer: str, selection: Selection) -> tuple[str, Row]:
    parts: list[tuple[str, object]] = [("tenant = ?", tenant)]
    if consumer:
        parts.append(("consumer = ?", consumer))
    if selection.source:
        parts.append(("source = ?", selection.source))
    if selection.subject:
        parts.append(("subject = ?", selection.subject))
    if selection.since is not None:
        parts.append(("at >= ?", _at(selection.since)))
    if selection.until is not None:
        parts.append(("at < ?", _at(selection.until)))
    where = " AND ".join(text for text, _ in parts)
    values: Row = tuple(value for _, value in parts)
    if selection.ids:
        where, values = f"{where} AND id IN ({marks(len(selection.ids))})", (*values, *selection.ids)
    return where, values


def _at(moment: datetime) -> int:
    return micros(moment)
