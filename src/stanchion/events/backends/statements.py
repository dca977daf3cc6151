"""SQL at the driver's own speed: on the bus's paths building statements would cost more than running them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, CursorResult

Row = tuple[Any, ...]


@lru_cache(maxsize=2_048)
def _spelt(text: str, dialect: str) -> str:
    """The statement with the driver's own placeholders; ours are question marks."""
    return text.replace("%", "%%").replace("?", "%s") if dialect == "postgresql" else text


def run(connection: Connection, text: str, values: Row = ()) -> CursorResult[Any]:
    """Run one statement, written with question marks for values."""
    return connection.exec_driver_sql(_spelt(text, connection.dialect.name), values)


def rows(connection: Connection, text: str, values: Row = ()) -> Sequence[Row]:
    """All rows of a query, as plain tuples."""
    found: Sequence[Row] = run(connection, text, values).cursor.fetchall()
    return found


def many(connection: Connection, text: str, values: Sequence[Row]) -> None:
    """Run one statement for each row of values."""
    if values:
        connection.exec_driver_sql(_spelt(text, connection.dialect.name), list(values))


def sql(*parts: str) -> str:
    """A statement of several pieces, all of them constants or question marks: values never go in here."""
    return " ".join(part for part in parts if part)


def marks(number: int) -> str:
    """So many question marks."""
    return ",".join("?" * number)
