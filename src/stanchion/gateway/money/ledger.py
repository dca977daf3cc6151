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
from ...core.telemetry.tables import Insert
from ..contract.calls import Usage
from ..contract.money import Spend
from .subjects import storable
from .tables import spend, spend_days
from .windows import SECOND

_COUNTS = ("tokens_in", "tokens_out", "cached", "cache_writes", "reasoning")
_COLUMNS = (
    *(
        "tenant",
        "charge",
        "request_id",
        "attempt",
        "at",
        "team",
        "key",
        "route",
        "provider",
        "model",
        "price",
        "outcome",
    ),
    *("priced", *_COUNTS, "cost", "estimated", "tags", "took"),
)
_DAY_KEY = ("tenant", "day", "team", "key", "route", "provider", "model", "price", "outcome")
_DAY_SUMS = ("requests", "unpriced", *_COUNTS, "cost")
_CHARGE = (spend.c.tenant, spend.c.charge)
_AT, _TEAM, _PRICED, _ESTIMATED = (_COLUMNS.index(name) for name in ("at", "team", "priced", "estimated"))
_DAY = 86_400 * SECOND
_MOST_TAGS = 16
CAPACITY = 50_000


class SpendLedger(BatchWriter[tuple[str, Spend]]):
    """Where settled calls are written, by tenant. `add` never waits; `start` and `stop` own the storing.

    A kill loses what was added in the last `linger` seconds and while the commit before ran.
    """

    def __init__(self, database: Database, *, linger: float = 0.02, capacity: int = CAPACITY) -> None:
        self._rows = Insert(spend, _COLUMNS, database.dialect)
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
        values = [_values(*each) for each in rows]
        if again:
            # The first attempt may have been committed: what is stored is not charged again.
            values = _new(connection, values)
        else:
            self._rows(connection, values)
        if not values:
            return
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        add = dialect.insert(spend_days)
        sums = {name: spend_days.c[name] + add.excluded[name] for name in _DAY_SUMS}
        connection.execute(add.on_conflict_do_update(index_elements=list(_DAY_KEY), set_=sums), _by_day(values))


def spend_of(row: Row[tuple[object, ...]]) -> Spend:
    """A stored row."""
    usage = Usage(row.tokens_in, row.tokens_out, row.cached, row.cache_writes, row.reasoning, bool(row.estimated))
    return Spend(
        id=row.charge,
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
        took=row.took,
    )


def _values(tenant: str, row: Spend) -> tuple[Any, ...]:
    used = row.usage
    tags = {storable(name): storable(value) for name, value in list(row.tags.items())[:_MOST_TAGS]}
    return (
        tenant,
        row.id,
        storable(row.request_id),
        row.attempt,
        micros(row.at),
        storable(row.team),
        storable(row.key),
        storable(row.route),
        storable(row.provider),
        storable(row.model),
        storable(row.price),
        storable(row.outcome),
        row.priced,
        used.tokens_in,
        used.tokens_out,
        used.cached,
        used.cache_writes,
        used.reasoning,
        row.cost,
        used.estimated,
        msgspec.json.encode(tags).decode() if tags else "{}",
        row.took,
    )


def _new(connection: Connection, values: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Store the rows whose charge is not stored yet; those rows."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    once = dialect.insert(spend).on_conflict_do_nothing(index_elements=list(_CHARGE)).returning(*_CHARGE)
    stored = {tuple(c) for c in connection.execute(once, [dict(zip(_COLUMNS, row, strict=True)) for row in values])}
    return [row for row in values if row[:2] in stored]


def _by_day(rows: Sequence[tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Sums of the rows, sorted: two processes then lock rows in the same order."""
    found: dict[tuple[Any, ...], list[int]] = {}
    for row in rows:
        key = (row[0], row[_AT] // _DAY, *row[_TEAM:_PRICED])
        sums = found.get(key)
        if sums is None:
            sums = found[key] = [0] * len(_DAY_SUMS)
        sums[0] += 1
        sums[1] += not row[_PRICED]
        for i, count in enumerate(row[_PRICED + 1 : _ESTIMATED], start=2):
            sums[i] += count
    names = (*_DAY_KEY, *_DAY_SUMS)
    return [
        dict(zip(names, (key[0], moment(key[1] * _DAY).date().isoformat(), *key[2:], *sums), strict=True))
        for key, sums in sorted(found.items())
    ]
