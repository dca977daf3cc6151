"""The ledger of spend: one row for each settled call, written behind it, with the sums by day in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Row
from sqlalchemy.dialects import postgresql, sqlite

from ...core.clock import micros, moment
from ...core.storage import Database
from ...core.telemetry.batch import BatchWriter
from ...core.telemetry.retention import prune
from ..contract.calls import Usage
from ..contract.money import Spend
from .subjects import storable
from .tables import spend, spend_days

_COUNTS = ("tokens_in", "tokens_out", "cached", "cache_writes", "reasoning")
_DAY_KEY = ("tenant", "day", "team", "key", "route", "provider", "model", "price", "outcome")
_DAY_SUMS = ("requests", "unpriced", *_COUNTS, "cost")
_CALL = (spend.c.tenant, spend.c.request_id, spend.c.attempt)
_MOST = 2**53  # no model counts more tokens
_MOST_TAGS = 16
CAPACITY = 50_000


class SpendLedger(BatchWriter[tuple[str, Spend]]):
    """Where settled calls are written, by tenant. `add` never waits; `start` and `stop` own the storing.

    A kill loses what was added in the last `linger` seconds and while the commit before ran.
    """

    def __init__(self, database: Database, *, linger: float = 0.02, capacity: int = CAPACITY) -> None:
        super().__init__(database, self._store, task="gateway-spend", capacity=capacity, linger=linger)

    async def prune(self, older_than: datetime) -> int:
        """Delete rows from before that moment; how many went. The sums by day stay."""
        return await prune(self._database, spend, spend.c.at, older_than)

    async def prune_days(self, older_than: datetime) -> int:
        """Delete sums of days before that moment's."""
        day = older_than.date().isoformat()
        statement = spend_days.delete().where(spend_days.c.day < day)
        return await self._database.write(self._ctx, lambda connection: connection.execute(statement).rowcount)

    def _store(self, connection: Connection, rows: Sequence[tuple[str, Spend]], again: bool) -> None:
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        values = {(r["tenant"], r["request_id"], r["attempt"]): r for r in (_row(*each) for each in reversed(rows))}
        # The call whose row is there already is not charged again: after a commit of unknown outcome, or a settle by
        # two processes.
        once = dialect.insert(spend).on_conflict_do_nothing(index_elements=list(_CALL)).returning(*_CALL)
        new = {tuple(key) for key in connection.execute(once, [*reversed(values.values())])}
        if not new:
            return
        add = dialect.insert(spend_days)
        sums = {name: spend_days.c[name] + add.excluded[name] for name in _DAY_SUMS}
        days = _by_day([row for key, row in values.items() if key in new])
        connection.execute(add.on_conflict_do_update(index_elements=list(_DAY_KEY), set_=sums), days)


def spend_of(row: Row[tuple[object, ...]]) -> Spend:
    """A stored row."""
    usage = Usage(row.tokens_in, row.tokens_out, row.cached, row.cache_writes, row.reasoning, bool(row.estimated))
    return Spend(
        request_id=row.request_id,
        attempt=row.attempt,
        at=moment(row.at),
        team=row.team,
        key=row.key,
        route=row.route,
        provider=row.provider,
        model=row.model,
        price=row.price,
        priced=bool(row.priced),
        usage=usage,
        cost=row.cost,
        outcome=row.outcome,
        tags=msgspec.json.decode(row.tags, type=dict[str, str]),
    )


def _row(tenant: str, row: Spend) -> dict[str, Any]:
    used = row.usage
    tags = {storable(name): storable(value) for name, value in list(row.tags.items())[:_MOST_TAGS]}
    return {
        "tenant": tenant,
        "request_id": storable(row.request_id),
        "attempt": row.attempt,
        "at": micros(row.at),
        **{name: storable(getattr(row, name)) for name in ("team", "key", "route", "provider", "model", "price")},
        "priced": row.priced,
        **{name: max(0, min(getattr(used, name), _MOST)) for name in _COUNTS},
        "estimated": used.estimated,
        "cost": row.cost,
        "outcome": storable(row.outcome),
        "tags": msgspec.json.encode(tags).decode() if tags else "{}",
    }


def _by_day(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sums of the rows, sorted: two processes then lock rows in the same order."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:
        row = {**row, "day": moment(row["at"]).date().isoformat(), "requests": 1, "unpriced": int(not row["priced"])}
        key = tuple(row[name] for name in _DAY_KEY)
        sums = found.setdefault(key, dict(zip(_DAY_KEY, key, strict=True)))
        for name in _DAY_SUMS:
            sums[name] = sums.get(name, 0) + row[name]
    return [found[key] for key in sorted(found)]
