"""Versions of schemas, which are only ever added, and how each subject's changes are judged."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Integer, MetaData, String, Table, Text

from ...core.storage import Schema

metadata = MetaData()


def _name(column: str, *, key: bool = False) -> Column[str]:
    """A text column that sorts by code points on every engine."""
    return Column(column, String().with_variant(String(collation="C"), "postgresql"), primary_key=key, nullable=False)


versions = Table(
    "events_schemas",
    metadata,
    _name("tenant", key=True),
    _name("subject", key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    _name("kind"),
    Column("text", Text, nullable=False),
    _name("fingerprint"),
    Column("made_at", BigInteger, nullable=False),
    _name("made_by"),
)

subjects = Table(
    "events_subjects",
    metadata,
    _name("tenant", key=True),
    _name("subject", key=True),
    _name("compatibility"),
    Column("lenient", Boolean, nullable=False),
)

SCHEMA = Schema("events_schemas", metadata)
