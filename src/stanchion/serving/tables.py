"""What the tables of serving share: each of its packages adds its own to `metadata`, and `module.py` gathers them.

Times are microseconds since the epoch, in UTC.
"""

from __future__ import annotations

from sqlalchemy import Column, MetaData, String

metadata = MetaData()


def name(column: str, *, key: bool = False) -> Column[str]:
    """A text column that sorts by code points on every engine."""
    return Column(column, String().with_variant(String(collation="C"), "postgresql"), primary_key=key, nullable=False)
