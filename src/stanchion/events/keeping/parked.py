"""Events put back: the one that waits for its retry, and those of its key behind it, in their order."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection

from ..backends.statements import marks, rows, run, sql
from .slots import HOUSE, Consumer

_OF_KEY = "consumer = ? AND slot = ? AND tenant = ? AND key = ?"
_COLUMNS = "tenant, place, slot, lane, position, key, due, attempts, body, history"


@dataclass(frozen=True, slots=True)
class Parked:
    """A row of the parked events; `due` in microseconds, None: behind another of its key."""

    tenant: str
    place: str
    slot: int
    lane: int
    position: int
    key: str
    due: int | None
    attempts: int
    body: bytes
    history: bytes


def due(
    connection: Connection, consumer: Consumer, slots: Collection[int], *, now: int, limit: int
) -> tuple[Sequence[Parked], int | None]:
    """Those whose time has come, the longest due first, and when the next one's comes."""
    whose, values = _whose(consumer)
    here = f"consumer = ?{whose} AND slot IN ({marks(len(slots))}) AND due IS NOT NULL"
    found = rows(
        connection,
        sql("SELECT", _COLUMNS, "FROM events_parked WHERE", here, "AND due <= ? ORDER BY due, position LIMIT ?"),
        (consumer.name, *values, *slots, now, limit),
    )
    following = rows(
        connection,
        sql("SELECT min(due) FROM events_parked WHERE", here, "AND due > ?"),
        (consumer.name, *values, *slots, now),
    )
    return [Parked(*row) for row in found], following[0][0]


def behind(
    connection: Connection, consumer: Consumer, tenant: str, slot: int, key: str, *, limit: int
) -> Sequence[Parked]:
    """The first events of a key, in their order."""
    found = rows(
        connection,
        sql("SELECT", _COLUMNS, "FROM events_parked WHERE", _OF_KEY, "ORDER BY position LIMIT ?"),
        (consumer.name, slot, tenant, key, limit),
    )
    return [Parked(*row) for row in found]


class Held(NamedTuple):
    """A key that is held up: whether one of its events has a time, and the position of its last one."""

    tenant: str
    slot: int
    key: str
    timed: bool
    last: int


def keys(connection: Connection, consumer: Consumer, slots: Collection[int]) -> Sequence[Held]:
    """The keys that are held up in these slots."""
    whose, values = _whose(consumer)
    return [
        Held(tenant, slot, key, bool(timed), last)
        for tenant, slot, key, timed, last in rows(
            connection,
            sql(
                "SELECT tenant, slot, key, count(due), max(position) FROM events_parked WHERE consumer = ?",
                whose,
                f"AND slot IN ({marks(len(slots))}) AND key <> '' GROUP BY tenant, slot, key",
            ),
            (consumer.name, *values, *slots),
        )
    ]


def waiting(connection: Connection, consumer: Consumer) -> int:
    """How many events are put back."""
    whose, values = _whose(consumer)
    query = sql("SELECT count(*) FROM events_parked WHERE consumer = ?", whose)
    return int(rows(connection, query, (consumer.name, *values))[0][0])


def forget(connection: Connection, consumer: Consumer, tenant: str, place: str) -> None:
    """Remove one."""
    run(
        connection,
        "DELETE FROM events_parked WHERE tenant = ? AND consumer = ? AND place = ?",
        (tenant, consumer.name, place),
    )


def _whose(consumer: Consumer) -> tuple[str, tuple[str, ...]]:
    return ("", ()) if consumer.tenant == HOUSE else (" AND tenant = ?", (consumer.tenant,))
