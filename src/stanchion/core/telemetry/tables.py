"""The tables of what happened, the same for both dialects, and how a moment is stored in them.

The numbered rows of `ledger` and `spans` lie in the order of writing, which is what SQLite inserts fastest and what
retention deletes from the front.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..storage.schema import Schema
from .histogram import BUCKETS

if TYPE_CHECKING:
    from alembic.operations import Operations

_metadata = sa.MetaData()
_ROWS = 48  # with the ledger's 18 columns, below every limit on the values of one statement


def _number() -> sa.Column[int]:
    # Only INTEGER makes SQLite's row number the key itself.
    return sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String, nullable=False)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def _real(name: str) -> sa.Column[float]:
    return sa.Column(name, sa.Float(53), nullable=False)


def _stages() -> sa.Column[str]:
    # A default of the table's own: a process of the version before goes on writing rows without it.
    return sa.Column("stages", sa.String, nullable=False, server_default="")


ledger = sa.Table(
    "ledger",
    _metadata,
    _number(),
    _count("at"),
    *map(_text, ("request_id", "trace_id", "tenant", "principal", "route")),
    _count("status"),
    _text("outcome"),
    _real("latency_ms"),
    *map(_text, ("subject", "version", "rung", "cache")),
    *map(_count, ("items", "tokens_in", "tokens_out")),
    _real("cost"),
    _stages(),
    sa.Index("ledger_at", "tenant", "at"),
    # Random keys cost the most to insert, so these two are as short as they can be; readers add the tenant.
    sa.Index("ledger_trace", "trace_id"),
    sa.Index("ledger_request", "request_id"),
)

ledger_minutes = sa.Table(
    "ledger_minutes",
    _metadata,
    sa.Column("tenant", sa.String, primary_key=True),
    sa.Column("minute", sa.BigInteger, primary_key=True, autoincrement=False),
    *(sa.Column(n, sa.String, primary_key=True) for n in ("route", "subject", "version", "rung", "outcome")),
    *map(_count, ("requests", "items", "tokens_in", "tokens_out")),
    _real("cost"),
    *(_count(f"b{i}") for i in range(BUCKETS)),
)

spans = sa.Table(
    "spans",
    _metadata,
    _number(),
    *map(_text, ("tenant", "trace_id", "span_id")),
    sa.Column("parent_id", sa.String),
    sa.Column("root", sa.Boolean, nullable=False),
    _text("name"),
    _count("started_at"),
    _count("ended_at"),
    *map(_text, ("status", "attributes")),
    sa.Index("spans_trace", "tenant", "trace_id"),
)
# Written as the query writes it: SQLite takes a partial index only for the very same words.
_ROOTS = spans.c.root.is_(True)
sa.Index("spans_roots", spans.c.tenant, spans.c.started_at, sqlite_where=_ROOTS, postgresql_where=_ROOTS)

content = sa.Table(
    "content",
    _metadata,
    _number(),
    _text("tenant"),
    _text("request_id"),
    _text("kind"),
    _count("at"),
    sa.Column("blob", sa.LargeBinary, nullable=False),
    sa.Index("content_request", "tenant", "request_id"),
)


def _add_stages(operations: Operations) -> None:
    operations.add_column("ledger", _stages())


TELEMETRY_SCHEMA = Schema("telemetry", _metadata, (_add_stages,))


class Insert:
    """INSERTs of many rows by position: in statements of `_ROWS` rows each, as far as there are so many.

    The driver gives up the interpreter's lock for every statement, and has to win it back from a busy event loop.
    """

    def __init__(self, table: sa.Table, columns: tuple[str, ...], dialect: str) -> None:
        self._one = insert_text(table, columns, dialect)
        head, _, values = self._one.partition(" VALUES ")
        self._many = f"{head} VALUES {', '.join([values] * _ROWS)}"

    def __call__(self, connection: sa.Connection, rows: Sequence[Sequence[object]]) -> None:
        """Insert all rows, in their order."""
        whole = len(rows) - len(rows) % _ROWS
        for first in range(0, whole, _ROWS):
            connection.exec_driver_sql(self._many, tuple(chain.from_iterable(rows[first : first + _ROWS])))
        if whole < len(rows):
            connection.exec_driver_sql(self._one, [tuple(row) for row in rows[whole:]])


def insert_text(table: sa.Table, columns: tuple[str, ...], dialect: str) -> str:
    """An INSERT by position in the driver's own marks: SQLAlchemy's per-row work costs more than the row does."""
    mark = "?" if dialect == "sqlite" else "%s"
    return f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join([mark] * len(columns))})"  # noqa: S608  # names come from the tables above
