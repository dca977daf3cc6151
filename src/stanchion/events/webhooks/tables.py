"""Webhooks: what they are, and how they do."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Integer, LargeBinary, MetaData, String, Table, Text

from ...core.storage import Schema

metadata = MetaData()


def _name(column: str, *, key: bool = False) -> Column[str]:
    """A text column that sorts by code points on every engine."""
    return Column(column, String().with_variant(String(collation="C"), "postgresql"), primary_key=key, nullable=False)


hooks = Table(
    "events_hooks",
    metadata,
    _name("tenant", key=True),
    _name("name", key=True),
    _name("direction"),
    _name("consumer"),
    # The declaration as JSON.
    Column("spec", Text, nullable=False),
    # The secrets that hold and until when, sealed under the tenant's key.
    Column("sealed", LargeBinary, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("last_error", Text, nullable=False),
    Column("last_done", BigInteger, nullable=True),
    Column("changed_at", BigInteger, nullable=False),
    _name("changed_by"),
)

SCHEMA = Schema("events_hooks", metadata)
