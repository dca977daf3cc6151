"""The tables of review, the same on SQLite and PostgreSQL. Times are microseconds since the epoch, in UTC."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, MetaData, String, Table, Text, text

from ...core.storage import Schema

if TYPE_CHECKING:
    from alembic.operations import Operations

metadata = MetaData()


def _name(name: str, *, key: bool = False) -> Column[str]:
    # PostgreSQL would sort by the language of the database; SQLite sorts by code points.
    return Column(name, String().with_variant(String(collation="C"), "postgresql"), primary_key=key, nullable=False)


# One row for each tenant and counter. Every write locks the tenant's turn, so that its writers follow each other.
counters = Table(
    "review_counters",
    metadata,
    _name("tenant", key=True),
    _name("counter", key=True),
    Column("last", BigInteger, nullable=False),
)

items = Table(
    "review_items",
    metadata,
    _name("tenant", key=True),
    _name("id", key=True),
    Column("number", BigInteger, nullable=False),
    _name("queue"),
    Column("key", String),
    Column("status", String, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("level", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    _name("author"),
    _name("assignee"),
    Column("golden", Boolean, nullable=False),
    Column("warned", Boolean, nullable=False),
    Column("opened_at", BigInteger, nullable=False),
    Column("warn_at", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("next_at", BigInteger),
    Column("finished", BigInteger),
    Column("facts", LargeBinary, nullable=False),
    Column("state", LargeBinary, nullable=False),
    Index("review_item_key", "tenant", "queue", "key", unique=True),
    Index("review_item_order", "tenant", "status", "priority", "number"),
    Index("review_item_number", "tenant", "queue", "number"),
    Index("review_item_finished", "tenant", "queue", "finished"),
    Index("review_item_next", "next_at"),
)

# Who holds what, as an index of the leases in `state`.
holders = Table(
    "review_holders",
    metadata,
    _name("tenant", key=True),
    _name("item", key=True),
    _name("holder", key=True),
    Column("until", BigInteger, nullable=False),
    Index("review_holder", "tenant", "holder", "until"),
)

# Inputs, proposals, edits, notes and what was shown, each sealed with the tenant's key.
texts = Table(
    "review_texts",
    metadata,
    _name("tenant", key=True),
    _name("id", key=True),
    _name("item"),
    Column("body", LargeBinary, nullable=False),
)

# Which items hold copies of which, as similar cases in their texts.
copies = Table(
    "review_copies",
    metadata,
    _name("tenant", key=True),
    _name("item", key=True),
    _name("holder", key=True),
    Index("review_copy_holder", "tenant", "holder"),
)
UNKNOWN = ""
"""In place of an item: nobody has looked yet of which its holder has copies."""

reviewers = Table(
    "review_reviewers",
    metadata,
    _name("tenant", key=True),
    _name("principal", key=True),
    Column("entry", LargeBinary, nullable=False),
)

datasets = Table(
    "review_datasets",
    metadata,
    _name("tenant", key=True),
    _name("queue", key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("rows", Integer, nullable=False),
    Column("upto", BigInteger, nullable=False),
    Column("sha256", String, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("by", String, nullable=False),
)

notices = Table(
    "review_notices",
    metadata,
    _name("tenant", key=True),
    _name("id", key=True),
    Column("to", String, nullable=False),
    Column("subject", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", BigInteger),
    Index("review_notice_next", "next_at"),
)


def _add_copies(operations: Operations) -> None:
    """Version 2: who holds copies of an item is noted. What older ones hold is sealed, so it is looked up later."""
    operations.create_table(
        "review_copies", _name("tenant", key=True), _name("item", key=True), _name("holder", key=True)
    )
    operations.create_index("review_copy_holder", "review_copies", ["tenant", "holder"])
    operations.execute(
        text("INSERT INTO review_copies (tenant, item, holder) SELECT tenant, :item, id FROM review_items").bindparams(
            item=UNKNOWN
        )
    )


SCHEMA = Schema("review", metadata, steps=(_add_copies,))
