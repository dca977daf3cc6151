"""Which events a consumer is done with, asked before a handler runs: what was done is not even begun again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import Connection

from ..backends.statements import rows

_AT_ONCE = 200


def among(connection: Connection, consumer: str, names: Sequence[tuple[str, str, str]]) -> set[tuple[str, str, str]]:
    """Those of the names (tenant, source, id) that the consumer is done with."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for tenant, source, identity in names:
        groups[tenant, source].append(identity)
    found: set[tuple[str, str, str]] = set()
    for (tenant, source), ids in groups.items():
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            # A list of always the same length, so that the statement is prepared once.
            padded = some + [some[0]] * (_AT_ONCE - len(some)) if len(some) > 1 else some
            query = _QUERY if len(some) > 1 else _SINGLE
            found |= {(tenant, source, id_) for (id_,) in rows(connection, query, (tenant, consumer, source, *padded))}
    return found


_SINGLE = "SELECT id FROM events_handled WHERE tenant = ? AND consumer = ? AND source = ? AND id IN (?)"
_QUERY = _SINGLE.replace("(?)", f"({','.join('?' * _AT_ONCE)})")
