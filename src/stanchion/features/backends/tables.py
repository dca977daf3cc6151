"""The feature store's tables: pushed rows and the state of materialisations. Times are microseconds since the epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text

from ...core.storage import Schema

if TYPE_CHECKING:
    from alembic.operations import Operations

metadata = MetaData()


def _name(name: str, *, key: bool = False) -> Column[str]:
    # PostgreSQL would compare by the language of the database; keys are compared by their bytes, as SQLite does.
    return Column(name, String().with_variant(String(collation="C"), "postgresql"), primary_key=key, nullable=False)


# Rows are added, and forgotten from the earliest event time on. The number grows with the order in which they came.
log = Table(
    "features_log",
    metadata,
    Column("number", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True),
    _name("tenant"),
    _name("name"),
    _name("key"),
    Column("at", BigInteger, nullable=False),
    Column("known", BigInteger, nullable=False),
    _name("event"),
    Column("values", Text, nullable=False),
    Index("features_log_at", "tenant", "name", "at", "number"),
)

# One row for each tenant and view: how far it has been materialised, and who is at it.
jobs = Table(
    "features_jobs",
    metadata,
    _name("tenant", key=True),
    _name("view", key=True),
    _name("definition"),
    Column("reached", BigInteger),
    Column("known", BigInteger),
    Column("start", BigInteger),
    Column("end", BigInteger),
    Column("next", BigInteger),
    _name("owner"),
    Column("expires", BigInteger, nullable=False),
)

# One row for each log of which rows have been forgotten: those of an earlier event time than `horizon` may be gone.
horizons = Table(
    "features_horizons",
    metadata,
    _name("tenant", key=True),
    _name("name", key=True),
    Column("horizon", BigInteger, nullable=False),
)


def _add_horizons(operations: Operations) -> None:
    """Version 2: pushed rows are no longer kept for ever."""
    operations.create_table(
        "features_horizons",
        _name("tenant", key=True),
        _name("name", key=True),
        Column("horizon", BigInteger, nullable=False),
    )


SCHEMA = Schema("features", metadata, steps=(_add_horizons,))
