"""The tables of events. Times are microseconds since the epoch; names are compared by their bytes on every engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    text,
)

from ...core.storage import Schema

if TYPE_CHECKING:
    from alembic.operations import Operations

metadata = MetaData()


def _name(name: str, *, key: bool = False) -> Column[str]:
    return Column(name, String().with_variant(String(collation="C"), "postgresql"), primary_key=key, nullable=False)


def _whole(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


# The bus itself, and over a broker the outbox. No index but the number's own: whoever reads reads in order.
# The last row is never removed, so that SQLite gives no number twice.
log = Table(
    "events_log",
    metadata,
    Column("seq", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True),
    Column("lane", SmallInteger, nullable=False),
    _name("tenant"),
    _name("type"),
    _whole("at"),
    Column("body", LargeBinary, nullable=False),
)

# Until when each process may be taken for alive, for each consumer that it works for.
holders = Table(
    "events_holders",
    metadata,
    _name("holder", key=True),
    _name("tenant", key=True),
    _name("consumer", key=True),
    _whole("until"),
)

# Who reads a slot for a consumer, and how far it has come in the slot's three lanes. `token` grows with each holder.
slots = Table(
    "events_slots",
    metadata,
    _name("tenant", key=True),
    _name("consumer", key=True),
    Column("slot", SmallInteger, primary_key=True, autoincrement=False),
    _name("holder"),
    _whole("token"),
    _whole("high"),
    _whole("normal"),
    _whole("low"),
    _whole("stalls"),
)

consumers = Table(
    "events_consumers",
    metadata,
    _name("tenant", key=True),
    _name("consumer", key=True),
    Column("types", Text, nullable=False),
    _whole("paused"),
)

# What each consumer is done with, for ever: this row and the handler's own writes commit together.
# `correlation` is there for events that belong to a chain, are traced or failed; `trail` tells of their part in it.
handled = Table(
    "events_handled",
    metadata,
    _name("tenant", key=True),
    _name("consumer", key=True),
    _name("source", key=True),
    _name("id", key=True),
    Column("correlation", String().with_variant(String(collation="C"), "postgresql")),
    Column("trail", LargeBinary),
    # Microseconds since the epoch; none for rows from before this was kept.
    Column("at", BigInteger),
    Index(
        "events_handled_chain",
        "tenant",
        "correlation",
        sqlite_where=text("correlation IS NOT NULL"),
        postgresql_where=text("correlation IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)

# Events put back for a retry, and those of the same key behind them. `due` is there for the first of its key only.
parked = Table(
    "events_parked",
    metadata,
    _name("tenant", key=True),
    _name("consumer", key=True),
    _name("place", key=True),
    Column("slot", SmallInteger, nullable=False),
    Column("lane", SmallInteger, nullable=False),
    _whole("position"),
    _name("key"),
    Column("due", BigInteger),
    _whole("attempts"),
    Column("body", LargeBinary, nullable=False),
    Column("history", LargeBinary, nullable=False),
    Index(
        "events_parked_due",
        "consumer",
        "slot",
        "due",
        sqlite_where=text("due IS NOT NULL"),
        postgresql_where=text("due IS NOT NULL"),
    ),
    Index("events_parked_key", "consumer", "slot", "tenant", "key"),
)

dead = Table(
    "events_dead",
    metadata,
    _name("tenant", key=True),
    _name("consumer", key=True),
    _name("id", key=True),
    _name("type"),
    _name("source"),
    _name("subject"),
    _whole("at"),
    Column("lane", SmallInteger, nullable=False),
    _name("key"),
    _whole("attempts"),
    Column("body", LargeBinary, nullable=False),
    Column("history", LargeBinary, nullable=False),
    Index("events_dead_at", "tenant", "at"),
)

delayed = Table(
    "events_delayed",
    metadata,
    _name("tenant", key=True),
    _name("id", key=True),
    _whole("due"),
    Column("lane", SmallInteger, nullable=False),
    _name("type"),
    Column("body", LargeBinary, nullable=False),
    Index("events_delayed_due", "due"),
)

# How far event time has come in each slot of a stream, and the state of each of its keys. `due` is the moment of event
# time at which something happens to the key next, `seen` when its last row came.
stream_times = Table(
    "events_stream_times",
    metadata,
    _name("tenant", key=True),
    _name("stream", key=True),
    Column("slot", SmallInteger, primary_key=True, autoincrement=False),
    _whole("newest"),
)

stream_keys = Table(
    "events_stream_keys",
    metadata,
    _name("tenant", key=True),
    _name("stream", key=True),
    _name("key", key=True),
    Column("slot", SmallInteger, nullable=False),
    Column("due", BigInteger),
    _whole("seen"),
    Column("state", LargeBinary, nullable=False),
    Index("events_stream_keys_due", "tenant", "stream", "slot", "due"),
)


def _add_handled_at(operations: Operations) -> None:
    operations.add_column("events_handled", Column("at", BigInteger))


SCHEMA = Schema("events", metadata, (_add_handled_at,))
