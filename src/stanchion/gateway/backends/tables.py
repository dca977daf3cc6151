"""The gateway's own table: every version of every route that a tenant has put."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Integer, MetaData, Table, Text

from ...core.storage.schema import Schema

_metadata = MetaData()
routes = Table(
    "gateway_routes",
    _metadata,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    # NULL: the route was taken back.
    Column("spec", Text),
    Column("changed_at", BigInteger, nullable=False),
    Column("changed_by", Text, nullable=False),
)
# Every change of what is drained; the newest version of an upstream holds.
drains = Table(
    "gateway_drains",
    _metadata,
    Column("tenant", Text, primary_key=True),
    Column("upstream", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("drained", Boolean, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("changed_by", Text, nullable=False),
)
SCHEMA = Schema("gateway", _metadata)
