"""Files of calls, batches, and results of lines until they are in a file. Times are microseconds since the epoch."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, MetaData, String, Table, Text

metadata = MetaData()


def _name(column: str, *, key: bool = False) -> Column[str]:
    """A text column that sorts by code points on every engine."""
    return Column(column, String().with_variant(String(collation="C"), "postgresql"), primary_key=key, nullable=False)


def _count(column: str) -> Column[int]:
    return Column(column, BigInteger, nullable=False, default=0)


# The content lies sealed in blobs, in numbered parts. A file that is not `ready` is being written, or its writer died.
files = Table(
    "gateway_files",
    metadata,
    _name("tenant", key=True),
    _name("id", key=True),
    _name("principal"),
    _name("filename"),
    _name("purpose"),
    Column("ready", Boolean, nullable=False),
    Column("parts", Integer, nullable=False),
    _count("size"),
    _count("created_at"),
    _count("expires_at"),
    Index("gateway_files_expires", "expires_at"),
)

USAGE = ("tokens_in", "tokens_out", "cached", "reasoning")

# `epoch` grows with every process that takes the batch up: what an earlier one writes is refused.
batches = Table(
    "gateway_batches",
    metadata,
    _name("tenant", key=True),
    _name("id", key=True),
    _name("principal"),
    # Rights, labels and budget of the author, as JSON.
    Column("author", Text, nullable=False),
    _name("endpoint"),
    _name("input_file"),
    _name("state"),
    Column("metadata", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("moments", Text, nullable=False),
    Column("faults", Text, nullable=False),
    _count("created_at"),
    _count("expires_at"),
    _count("total"),
    _count("completed"),
    _count("failed"),
    *map(_count, USAGE),
    _count("cost"),
    _name("output_file"),
    _name("error_file"),
    _name("holder"),
    _count("held_until"),
    _count("epoch"),
    Index("gateway_batches_open", "state", "held_until"),
    Index("gateway_batches_input", "tenant", "input_file"),
)

lines = Table(
    "gateway_batch_lines",
    metadata,
    _name("tenant", key=True),
    _name("batch", key=True),
    Column("line", Integer, primary_key=True, autoincrement=False),
    Column("good", Boolean, nullable=False),
    # The line of the output or error file, sealed.
    Column("result", LargeBinary, nullable=False),
)
