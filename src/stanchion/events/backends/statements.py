"""SQL at the driver's own speed: on the bus's paths building statements would cost more than running them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Protocol

from sqlalchemy import Connection

Row = tuple[Any, ...]
_SIZES = (128, 32, 8, 2)
"""Rows of one statement; few sizes, as each is a statement that the driver keeps prepared."""


class Cursor(Protocol):
    """What both drivers' cursors have in common."""

    @property
    def rowcount(self) -> int: ...

    def execute(self, text: str, values: Row, /) -> object: ...

    def executemany(self, text: str, values: Sequence[Row], /) -> object: ...

    def fetchall(self) -> Sequence[Row]: ...


@lru_cache(maxsize=2_048)
def _spelt(text: str, dialect: str) -> str:
    """The statement with the driver's own placeholders; ours are question marks."""
    return text.replace("%", "%%").replace("?", "%s") if dialect == "postgresql" else text


def run(connection: Connection, text: str, values: Row = ()) -> Cursor:
    """Run one statement, written with question marks for values."""
    cursor = _cursor(connection)
    cursor.execute(_spelt(text, connection.dialect.name), values)
    return cursor


def rows(connection: Connection, text: str, values: Row = ()) -> Sequence[Row]:
    """All rows of a query, as plain tuples."""
    return run(connection, text, values).fetchall()


def many(connection: Connection, text: str, values: Sequence[Row]) -> None:
    """Run one statement for each row of values."""
    if connection.dialect.name == "sqlite" and " VALUES (" in text:
        values = _together(connection, text, values)
    if values:
        _cursor(connection).executemany(_spelt(text, connection.dialect.name), values)


def _together(connection: Connection, text: str, values: Sequence[Row]) -> Sequence[Row]:
    """Insert rows by statements of many rows each; those that are left over.

    SQLite's driver lets go of the interpreter at each statement, and waits milliseconds to have it back from an event
    loop that is busy: row by row a commit would take as long as the loop works.
    """
    at = 0
    for size in _SIZES:
        while len(values) - at >= size:
            some = values[at : at + size]
            _cursor(connection).execute(_longer(text, size), tuple(chain.from_iterable(some)))
            at += size
    return values[at:]


def _cursor(connection: Connection) -> Cursor:
    """The driver's own: a statement through SQLAlchemy takes eight times as long as SQLite takes to run it."""
    cursor: Cursor = connection.connection.cursor()
    return cursor


@lru_cache(maxsize=256)
def _longer(text: str, size: int) -> str:
    """The statement for so many rows."""
    head, _, rest = text.partition(" VALUES (")
    row, _, tail = rest.partition(")")
    return f"{head} VALUES {','.join([f'({row})'] * size)}{tail}"


def sql(*parts: str) -> str:
    """A statement of several pieces, all of them constants or question marks: values never go in here."""
    return " ".join(part for part in parts if part)


def marks(number: int) -> str:
    """So many question marks."""
    return ",".join("?" * number)
