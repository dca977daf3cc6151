"""Which events a consumer is done with, asked before a handler runs: what was done is not even begun again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import Connection

from ..backends.statements import Row, many, marks, rows, sql

_SIZES = (1, 8, 50, 200)
"""Lists of few lengths, so that each statement is prepared once."""
_KEY = "tenant, consumer, source, id"


def among(connection: Connection, consumer: str, names: Sequence[tuple[str, str, str]]) -> set[tuple[str, str, str]]:
    """Those of the names (tenant, source, id) that the consumer is done with."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for tenant, source, identity in names:
        groups[tenant, source].append(identity)
    found: set[tuple[str, str, str]] = set()
    for (tenant, source), ids in groups.items():
        for start in range(0, len(ids), _SIZES[-1]):
            some = ids[start : start + _SIZES[-1]]
            size = next(size for size in _SIZES if size >= len(some))
            padded = some + [some[0]] * (size - len(some))
            values = (tenant, consumer, source, *padded)
            found |= {(tenant, source, id_) for (id_,) in rows(connection, _QUERIES[size], values)}
    return found


_QUERIES = {
    size: sql(
        "SELECT id FROM events_handled WHERE tenant = ? AND consumer = ? AND source = ?", f"AND id IN ({marks(size)})"
    )
    for size in _SIZES
}


def prune(connection: Connection, after: Row, *, older: int, limit: int) -> tuple[Sequence[Row], Row | None]:
    """Of the next `limit` notes behind the key `after` those that were made before `older`, and where to go on.

    The place is None at the end. Notes from before their time was kept are never among them.
    """
    query = sql("SELECT", _KEY, ", at FROM events_handled WHERE (", _KEY, ") > (?, ?, ?, ?) ORDER BY", _KEY, "LIMIT ?")
    found = rows(connection, query, (*after, limit))
    old = [row[:4] for row in found if row[4] is not None and row[4] < older]
    return old, found[-1][:4] if len(found) == limit else None


def forget(connection: Connection, notes: Sequence[Row]) -> None:
    """Remove notes by their keys: what they are about is handled again if it is published again."""
    many(
        connection, "DELETE FROM events_handled WHERE tenant = ? AND consumer = ? AND source = ? AND id = ?", notes
    )  # fmt: skip
