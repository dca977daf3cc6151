"""Events kept until their moment."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from ..backends import log
from ..backends.statements import many, rows
from ..ports import Entry

_DUE = (
    "DELETE FROM events_delayed WHERE (tenant, id) IN"
    " (SELECT tenant, id FROM events_delayed WHERE due <= ? ORDER BY due LIMIT ?{lock})"
    " RETURNING due, id, lane, tenant, type, body"
)


def keep(connection: Connection, entries: Sequence[Entry], *, at: int, call: str, due: int) -> None:
    """Keep entries that one call published at `at` until `due`, when they are published in the order given."""
    many(
        connection,
        "INSERT INTO events_delayed (tenant, id, due, lane, type, body) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING",
        [
            (entry.tenant, f"{at:016x}.{number:04d}.{call}", due, entry.lane, entry.type, entry.body)
            for number, entry in enumerate(entries)
        ],
    )


def first(connection: Connection) -> int | None:
    """When the first one's moment comes."""
    found: int | None = rows(connection, "SELECT min(due) FROM events_delayed")[0][0]
    return found


def release(connection: Connection, now: int, *, limit: int) -> int:
    """Publish those whose moment has come, in the order of their moments; how many there were."""
    lock = " FOR UPDATE SKIP LOCKED" if connection.dialect.name == "postgresql" else ""
    found = sorted(rows(connection, _DUE.format(lock=lock), (now, limit)), key=lambda row: (row[0], row[1]))
    log.append(connection, [Entry(lane, tenant, kind, body) for _, _, lane, tenant, kind, body in found], now)
    return len(found)
