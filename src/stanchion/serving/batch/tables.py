"""What is kept of batch jobs: one row for a job, one for each chunk that is finished and lies on the disk."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, String, Table

from ..tables import metadata, name

jobs = Table(
    "serving_batch_jobs",
    metadata,
    name("tenant", key=True),
    name("id", key=True),
    name("key"),
    name("model"),
    name("version"),
    Column("manifest", String, nullable=False),
    Column("state", String, nullable=False),
    # Whether a serving process works it off in the background, and so takes it up again after a restart.
    Column("background", Boolean, nullable=False),
    Column("order", LargeBinary, nullable=False),
    Column("fingerprint", String, nullable=False),
    Column("requested_by", String, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("rows_total", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("quarantined", BigInteger, nullable=False),
    Column("chunks", Integer, nullable=False),
    Column("resumed", Integer, nullable=False),
    Column("seconds", BigInteger, nullable=False),
    Column("problem", LargeBinary),
    Column("report", LargeBinary),
    Index("serving_batch_key", "tenant", "key", "created_at"),
    Index("serving_batch_newest", "tenant", "created_at", "id"),
    Index("serving_batch_open", "background", "state"),
)

# `facts` are the counts of the chunk (rows, bins, reasons): what a resumed job's report is made of.
chunks = Table(
    "serving_batch_chunks",
    metadata,
    name("tenant", key=True),
    name("job", key=True),
    Column("chunk", Integer, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String, nullable=False),
    Column("facts", LargeBinary, nullable=False),
)
