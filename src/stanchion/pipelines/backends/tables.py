"""Tables of runs, their journals, signals and schedules."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, String, Table, Text, UniqueConstraint

from ...core.storage.schema import Schema

metadata = MetaData()
_TENANT = String(64)
_ID = String(64)

runs = Table(
    "pipeline_runs",
    metadata,
    Column("tenant", _TENANT, primary_key=True),
    Column("id", _ID, primary_key=True),
    Column("pipeline", String(128), nullable=False),
    Column("version", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("queue", String(64), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("key", String(512)),
    Column("inputs", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("due", BigInteger, nullable=False),
    Column("deadline", BigInteger),
    Column("started", BigInteger),
    Column("ended", BigInteger),
    Column("output", Text),
    Column("blob", String(512), nullable=False),
    Column("error", Text),
    Column("parent", _ID),
    Column("forked_from", _ID),
    Column("schedule", String(128)),
    Column("partition", String(64)),
    Column("dry", Boolean, nullable=False),
    Column("cancelling", Boolean, nullable=False),
    Column("executor", String(128)),
    Column("epoch", BigInteger, nullable=False),
    Column("recoveries", Integer, nullable=False),
    Column("stalls", Integer, nullable=False),
    Column("marked", Integer, nullable=False),
    Column("refused", Integer, nullable=False),
    UniqueConstraint("tenant", "pipeline", "key"),
    Index("pipeline_runs_due", "status", "due"),
    Index("pipeline_runs_queue", "queue", "status"),
    Index("pipeline_runs_started", "queue", "started"),
    Index("pipeline_runs_executor", "executor"),
    Index("pipeline_runs_parent", "tenant", "parent"),
    Index("pipeline_runs_ended", "ended"),
)
steps = Table(
    "pipeline_steps",
    metadata,
    Column("tenant", _TENANT, primary_key=True),
    Column("run", _ID, primary_key=True),
    Column("step", String(256), primary_key=True),
    Column("number", Integer, nullable=False),
    Column("stage", String(128), nullable=False),
    Column("status", String(16), nullable=False),
    Column("started", BigInteger, nullable=False),
    Column("ended", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("output", Text),
    Column("blob", String(512), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("error", Text),
    Column("notes", Text),
    Column("rows", Integer),
    Column("quarantined", Integer, nullable=False),
    Column("cached", Boolean, nullable=False),
    Column("until", BigInteger),
    Column("awaits", String(256), nullable=False),
)
signals = Table(
    "pipeline_signals",
    metadata,
    Column("tenant", _TENANT, primary_key=True),
    Column("run", _ID, primary_key=True),
    Column("name", String(256), primary_key=True),
    Column("key", String(256), primary_key=True),
    Column("value", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("taken", String(256)),
)
bad_rows = Table(
    "pipeline_bad_rows",
    metadata,
    Column("tenant", _TENANT, primary_key=True),
    Column("run", _ID, primary_key=True),
    Column("step", String(256), primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("record", String(512), nullable=False),
    Column("reasons", Text, nullable=False),
    Column("row", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)
kept = Table(
    "pipeline_kept",
    metadata,
    Column("tenant", _TENANT, primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("output", Text),
    Column("blob", String(512), nullable=False),
    Column("expires", BigInteger, nullable=False),
)
executors = Table(
    "pipeline_executors",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("beat", BigInteger, nullable=False),
    Column("queues", Text, nullable=False),
    Column("code", Text, nullable=False),
)
schedules = Table(
    "pipeline_schedules",
    metadata,
    Column("tenant", _TENANT, primary_key=True),
    Column("name", String(128), primary_key=True),
    Column("next", BigInteger, nullable=False),
    Column("last", BigInteger),
    Column("paused", Boolean, nullable=False),
)

SCHEMA = Schema("pipelines", metadata)
