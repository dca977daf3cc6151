"""Scores of answers. Times are microseconds since the epoch."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, MetaData, String, Table

metadata = MetaData()


def _name(column: str, *, key: bool = False) -> Column[str]:
    """A text column that sorts by code points on every engine."""
    return Column(column, String().with_variant(String(collation="C"), "postgresql"), primary_key=key, nullable=False)


scores = Table(
    "gateway_scores",
    metadata,
    _name("tenant", key=True),
    _name("request_id", key=True),
    _name("name", key=True),
    Column("value", Float(53), nullable=False),
    _name("scored_by"),
    Column("at", BigInteger, nullable=False),
    Index("gateway_scores_at", "at"),
)
