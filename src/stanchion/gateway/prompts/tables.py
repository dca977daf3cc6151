"""Versions of prompts, which are only ever added, and labels."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, MetaData, String, Table

metadata = MetaData()


def _name(column: str, *, key: bool = False) -> Column[str]:
    """A text column that sorts by code points on every engine."""
    return Column(column, String().with_variant(String(collation="C"), "postgresql"), primary_key=key, nullable=False)


prompts = Table(
    "gateway_prompts",
    metadata,
    _name("tenant", key=True),
    _name("name", key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    # Messages and variables as MessagePack.
    Column("content", LargeBinary, nullable=False),
    _name("note"),
    _name("author"),
    Column("at", BigInteger, nullable=False),
)

labels = Table(
    "gateway_prompt_labels",
    metadata,
    _name("tenant", key=True),
    _name("name", key=True),
    _name("label", key=True),
    # Weights by version as MessagePack.
    Column("weights", LargeBinary, nullable=False),
)
