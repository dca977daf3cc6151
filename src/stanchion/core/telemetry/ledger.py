"""The ledger: one row for every request, sampled or not, and its rollup in the same transaction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import datetime
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, select

from ..clock import micros
from ..storage.contract import Database
from .batch import BatchWriter
from .contract import LedgerRow
from .retention import prune
from .rollup import MINUTE, Rollup, upsert_text
from .tables import Insert, ledger, ledger_minutes

_COLUMNS = tuple(field.name for field in fields(LedgerRow))
_values = attrgetter(*_COLUMNS[1:])
_LONGEST = 256
_LARGEST = 2**53


class Ledger(BatchWriter[LedgerRow]):
    """Where finished requests are written. `write` never waits; `start` and `stop` own the storing.

    When `full`, the door refuses requests: an unrecorded answer is worse than none. Rows of requests that were
    under way at that moment are still taken.
    """

    def __init__(
        self, database: Database, *, capacity: int = 50_000, linger: float = 0.05, grace: float = 10.0
    ) -> None:
        super().__init__(database, self._store, task="ledger", capacity=capacity, linger=linger, grace=grace)
        self._rollup = Rollup()
        self._rows = Insert(ledger, _COLUMNS, database.dialect)
        self._upsert = upsert_text(database.dialect)

    def write(self, row: LedgerRow) -> None:
        """Take a finished row, which nobody changes any more."""
        self.add(row)

    async def prune(self, older_than: datetime) -> int:
        """Delete rows and rollups from before that moment; how many rows went."""
        minute = micros(older_than) // MINUTE
        await self._database.write(
            self._ctx, lambda c: c.execute(ledger_minutes.delete().where(ledger_minutes.c.minute < minute))
        )
        return await prune(self._database, ledger, ledger.c.at, older_than)

    def _store(self, connection: Connection, rows: Sequence[LedgerRow], again: bool) -> None:
        if again:
            # The failed attempt may have been committed; and one row that no store takes must not hold up the rest.
            rows = [_clean(row) for row in rows]
            if _stored(connection, rows[0]):
                return
        self._rows(connection, [(micros(row.at), *_values(row)) for row in rows])
        connection.exec_driver_sql(self._upsert, self._rollup.sums(rows))


def _stored(connection: Connection, row: LedgerRow) -> bool:
    c = ledger.c
    same = (c.tenant == row.tenant, c.request_id == row.request_id, c.at == micros(row.at), c.route == row.route)
    return connection.execute(select(c.id).where(*same).limit(1)).first() is not None


def _clean(row: LedgerRow) -> LedgerRow:
    """The row as every store can hold it: text without NUL and lone surrogates, numbers finite and in range."""
    return LedgerRow(**{name: _storable(value) for name, value in asdict(row).items()})


def _storable(value: Any) -> Any:
    match value:
        case str():
            return value.replace("\0", "").encode("utf-8", "replace").decode()[:_LONGEST]
        case float():
            return value if math.isfinite(value) else 0.0
        case int():
            return max(-_LARGEST, min(value, _LARGEST))
        case _:
            return value
