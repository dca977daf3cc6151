"""The drills that were ever begun."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, String, Table

from ..tables import metadata, name

drills = Table(
    "serving_drills",
    metadata,
    name("tenant", key=True),
    name("id", key=True),
    name("model"),
    name("rung"),
    Column("mode", String, nullable=False),
    Column("share", Float, nullable=False),
    Column("delay", Float, nullable=False),
    Column("begins", BigInteger, nullable=False),
    Column("ends", BigInteger, nullable=False, index=True),
    Column("begun_by", String, nullable=False),
)
