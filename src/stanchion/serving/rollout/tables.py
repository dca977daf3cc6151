"""What is kept of rollouts. Every process writes rows of its own, with its own totals, so that a row written twice
counts once and what several processes saw is the sum over them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, String, Table, Text, text

from ..tables import metadata, name

_LIVE = text("live")

rollouts = Table(
    "serving_rollouts",
    metadata,
    name("tenant", key=True),
    name("id", key=True),
    name("model"),
    Column("kind", String, nullable=False),
    Column("state", String, nullable=False),
    name("control"),
    name("candidate"),
    Column("plan", Text, nullable=False),
    Column("step", Integer, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("started_by", String, nullable=False),
    Column("started_rights", Text, nullable=False),
    Column("approved_by", String, nullable=False),
    Column("approved_rights", Text, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    # When the present step began to count: a pause moves it.
    Column("stepped_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("warm_until", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("live", Boolean, nullable=False),
    # The engine itself admits one rollout of a model at a time.
    Index("serving_rollout_live", "tenant", "model", unique=True, sqlite_where=_LIVE, postgresql_where=_LIVE),
    Index("serving_rollout_newest", "tenant", "model", "started_at"),
    Index("serving_rollout_warm", "warm_until"),
)

events = Table(
    "serving_rollout_events",
    metadata,
    name("tenant", key=True),
    name("rollout", key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("state", String, nullable=False),
    Column("step", Integer, nullable=False),
    Column("by", String, nullable=False),
    Column("reason", Text, nullable=False),
)

# `holder` is the process that counted; it alone writes the row.
cells = Table(
    "serving_rollout_cells",
    metadata,
    name("tenant", key=True),
    name("rollout", key=True),
    Column("step", Integer, primary_key=True, autoincrement=False),
    name("arm", key=True),
    name("holder", key=True),
    Column("requests", BigInteger, nullable=False),
    Column("failures", BigInteger, nullable=False),
    Column("timed", BigInteger, nullable=False),
    Column("log_seconds", Float, nullable=False),
    Column("log_squares", Float, nullable=False),
    Column("units", BigInteger, nullable=False),
    Column("compared", BigInteger, nullable=False),
    Column("disagreements", BigInteger, nullable=False),
    Column("difference", Float, nullable=False),
    Column("dropped", BigInteger, nullable=False),
)

bins = Table(
    "serving_rollout_bins",
    metadata,
    name("tenant", key=True),
    name("rollout", key=True),
    Column("step", Integer, primary_key=True, autoincrement=False),
    name("arm", key=True),
    name("holder", key=True),
    Column("kind", String, primary_key=True),
    Column("bin", Integer, primary_key=True, autoincrement=False),
    Column("n", BigInteger, nullable=False),
)

differences = Table(
    "serving_rollout_differences",
    metadata,
    name("tenant", key=True),
    name("rollout", key=True),
    name("request_id", key=True),
    Column("at", BigInteger, nullable=False),
    Column("control", String, nullable=False),
    Column("candidate", String, nullable=False),
    Column("size", Float, nullable=False),
)

leases = Table(
    "serving_leases",
    metadata,
    name("name", key=True),
    Column("holder", String, nullable=False),
    Column("until", BigInteger, nullable=False),
)
