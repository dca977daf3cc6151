"""The log as SQL: what `stage` writes in a caller's transaction and the SQL bus in its own is one and the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from ..ports import Entry, Stored
from .statements import many, marks, rows, run, sql

_INSERT = "INSERT INTO events_log (lane, tenant, type, at, body) VALUES (?, ?, ?, ?, ?)"
_PAGE = "SELECT seq, lane, body FROM events_log WHERE seq > ?"
_APPENDING = 7_823_914_117
"""Any number that no other lock of the server has. Numbers are drawn before their rows can be seen: without the lock a
reader could pass a lower number whose transaction commits later, and never see it."""


def append(connection: Connection, entries: Sequence[Entry], at: int) -> range:
    """Write the entries in the transaction of the connection; their numbers."""
    if not entries:
        return range(0)
    if connection.dialect.name == "postgresql":
        run(connection, "SELECT pg_advisory_xact_lock(?)", (_APPENDING,))
    values = [(each.lane, each.tenant, each.type, at, each.body) for each in entries]
    if len(values) == 1:
        number = int(rows(connection, f"{_INSERT} RETURNING seq", values[0])[0][0])
        return range(number, number + 1)
    many(connection, _INSERT, values)
    # Nobody else writes to the log before this transaction ends, so the numbers follow each other.
    last = head(connection)
    return range(last - len(entries) + 1, last + 1)


def head(connection: Connection) -> int:
    """The last number that can be seen here, 0 in an empty log."""
    return int(rows(connection, "SELECT coalesce(max(seq), 0) FROM events_log")[0][0])


def page(
    connection: Connection, after: Mapping[int, int], *, limit: int, tenant: str | None, types: Sequence[str]
) -> tuple[Sequence[Stored], int]:
    """Entries behind the positions in the order of their numbers, and up to which number was read."""
    seen = head(connection)
    least = min(after.values())
    if least >= seen:
        return (), seen
    where, values = _wanted(tenant, types)
    lanes = sorted(after)
    found = rows(
        connection,
        sql(_PAGE, f"AND lane IN ({marks(len(lanes))})", where, "ORDER BY seq LIMIT ?"),
        (least, *lanes, *values, limit),
    )
    entries = [Stored(lane, seq, body) for seq, lane, body in found if seq > after[lane]]
    return entries, found[-1][0] if len(found) == limit else seen


def _wanted(tenant: str | None, types: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    where, values = ("", ()) if tenant is None else (" AND tenant = ?", (tenant,))
    if "*" in types:
        return where, values
    parts: list[str] = []
    named: list[str] = []
    for each in types:
        if each.endswith(".*"):
            # All that begin with `prefix.`: the slash is the character after the dot.
            parts.append("(type >= ? AND type < ?)")
            named += [each[:-1], each[:-2] + "/"]
        else:
            parts.append("type = ?")
            named.append(each)
    return f"{where} AND ({' OR '.join(parts)})", (*values, *named)
