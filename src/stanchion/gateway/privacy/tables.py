"""What tokens stand for, sealed: a token without its row is a word without meaning."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, MetaData, String, Table

metadata = MetaData()

tokens = Table(
    "gateway_tokens",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("token", String(64), primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("gateway_tokens_age", "at"),
)
