"""Reading the ledger for people: what the console itself asked for is left out unless they want it.

Pages that keep themselves fresh ask every few seconds; listed with the rest they would bury it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ....core.context import Context
from ....core.telemetry.contract import LedgerRow
from ..assets import BASE
from ..shell import Shell

_AT_ONCE = 100
# An hour of polling by one page is 720 rows; further back the reader is asked to go on by hand.
_MOST_READS = 8


@dataclass(frozen=True, slots=True)
class LedgerPage:
    """Rows, newest first, and the moment before which the next page begins; None at the end of the ledger."""

    rows: Sequence[LedgerRow]
    older: datetime | None


async def ledger(
    shell: Shell, ctx: Context, *, before: datetime | None, limit: int, own: bool, asked: Mapping[str, str]
) -> LedgerPage:
    """At most `limit` rows. Whoever filters by route or searches an id sees the console's rows as well."""
    filters = {name: value or None for name, value in asked.items()}
    everything = own or bool(filters.get("route") or filters.get("search"))
    rows: list[LedgerRow] = []
    for _ in range(_MOST_READS):
        read = await shell.doors.observatory.requests(ctx, before=before, limit=_AT_ONCE, **filters)
        rows += [row for row in read if everything or not is_own(row.route)]
        if len(rows) > limit:
            return LedgerPage(rows[:limit], rows[limit - 1].at)
        if len(read) < _AT_ONCE:
            return LedgerPage(rows, None)
        before = read[-1].at
    return LedgerPage(rows, before)


def is_own(route: str) -> bool:
    """Whether a route, such as `GET /console/models`, is one of the console's."""
    path = route.partition(" ")[2] or route
    return path == BASE or path.startswith(f"{BASE}/")
