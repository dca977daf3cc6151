"""The table of served vectors, the same on SQLite and PostgreSQL. Times are microseconds since the epoch, in UTC."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, String, Table

from ...core.storage import Schema

metadata = MetaData()

served = Table(
    "features_served",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("service", String, primary_key=True),
    Column("read_at", BigInteger, primary_key=True, autoincrement=False),
    # Tells apart the vectors of one moment: the request's id, and its place in the request.
    Column("request_id", String, primary_key=True),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("fingerprint", String, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Index("features_served_age", "read_at"),
)

SCHEMA = Schema("features_monitoring", metadata)
