"""What is kept of money: counters, calls under way, the ledger of spend and its sums by day, budgets and teams.

Times are microseconds since the epoch in UTC, days are `2026-01-31`, amounts picodollars.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, String, Table, Text

from ...core.storage import Schema

if TYPE_CHECKING:
    from alembic.operations import Operations

metadata = MetaData()


def _name(column: str, *, key: bool = False) -> Column[str]:
    """A text column that sorts by code points on every engine."""
    return Column(column, String().with_variant(String(collation="C"), "postgresql"), primary_key=key, nullable=False)


def _count(column: str) -> Column[int]:
    return Column(column, BigInteger, nullable=False)


_USAGE = ("tokens_in", "tokens_out", "cached", "cache_writes", "reasoning")

counters = Table(
    "gateway_counters",
    metadata,
    _name("tenant", key=True),
    _name("budget", key=True),
    _name("subject", key=True),
    _name("measure", key=True),
    _name("window", key=True),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    _count("taken"),
    Index("gateway_counters_start", "start"),
)

# Calls under way, by the process that holds them; what it does not renew until `until` is free again.
slots = Table(
    "gateway_slots",
    metadata,
    _name("tenant", key=True),
    _name("budget", key=True),
    _name("subject", key=True),
    _name("holder", key=True),
    _count("held"),
    _count("until"),
    Index("gateway_slots_holder", "holder"),
)

# Rows lie in the order of writing: pages follow it, and retention deletes from its front.
spend = Table(
    "gateway_spend",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    _name("tenant"),
    _name("charge"),
    _name("request_id"),
    Column("attempt", Integer, nullable=False),
    _count("at"),
    *map(_name, ("team", "key", "route", "provider", "model", "price")),
    Column("priced", Boolean, nullable=False),
    *map(_count, _USAGE),
    Column("estimated", Boolean, nullable=False),
    _count("cost"),
    _name("outcome"),
    Column("tags", Text, nullable=False),
    # Microseconds from the reserve to the settling; 0 where it was not measured.
    Column("took", BigInteger, nullable=False, server_default="0"),
    # A call is charged once, however often its row is written.
    Index("gateway_spend_charge", "tenant", "charge", unique=True),
    Index("gateway_spend_request", "tenant", "request_id"),
    Index("gateway_spend_order", "tenant", "id"),
)

spend_days = Table(
    "gateway_spend_days",
    metadata,
    _name("tenant", key=True),
    _name("day", key=True),
    *(_name(n, key=True) for n in ("team", "key", "route", "provider", "model", "price", "outcome")),
    _count("requests"),
    _count("unpriced"),
    *map(_count, _USAGE),
    _count("cost"),
)

# Every version that ever was; the newest of a name holds. A `spec` of nothing is a removal.
budgets = Table(
    "gateway_budgets",
    metadata,
    _name("tenant", key=True),
    _name("name", key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("spec", Text, nullable=False),
    _count("changed_at"),
    _name("changed_by"),
)

teams = Table(
    "gateway_teams",
    metadata,
    _name("tenant", key=True),
    _name("name", key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("members", Text, nullable=False),
    Column("removed", Boolean, nullable=False),
    _count("changed_at"),
    _name("changed_by"),
)

# The engine itself admits one team for a key.
team_members = Table(
    "gateway_team_members",
    metadata,
    _name("tenant", key=True),
    _name("member", key=True),
    _name("team"),
    Index("gateway_team_members_team", "tenant", "team"),
)


def _add_took(operations: Operations) -> None:
    operations.add_column("gateway_spend", Column("took", BigInteger, nullable=False, server_default="0"))


SCHEMA = Schema("gateway_money", metadata, steps=(_add_took,))
