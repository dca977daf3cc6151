"""Every advice with both values, so that what the model would have done can be compared with what was done."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, LargeBinary, String, Table

from ..tables import metadata, name

advices = Table(
    "serving_sidecar_advices",
    metadata,
    name("tenant", key=True),
    name("sidecar", key=True),
    name("request_id", key=True),
    Column("at", BigInteger, nullable=False),
    Column("version", String, nullable=False),
    Column("reason", String, nullable=False),
    # Both values as JSON, and their relative difference where they are numbers.
    Column("base", LargeBinary, nullable=False),
    Column("candidate", LargeBinary, nullable=False),
    Column("deviation", Float),
    Column("confidence", Float),
    Column("milliseconds", Float, nullable=False),
    Column("outcome", Float),
    Index("serving_sidecar_newest", "tenant", "sidecar", "at"),
    Index("serving_sidecar_age", "at"),
)
