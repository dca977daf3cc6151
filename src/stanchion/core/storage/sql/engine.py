"""What one SQL engine differs in; the writer, the readers and the migrations above it are the same for all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from ...errors import StanchionError
from ..contract import Dialect

Fault = Literal["caller", "again", "readonly", "down"]


@dataclass(frozen=True, slots=True)
class SqlEngine:
    """`fault` judges an exception: the work's own, worth one more try, a write where none may be, or the engine's.

    `turn` is held while a connection is in use: a lock where all share one connection, else nothing.
    """

    dialect: Dialect
    writer: Engine
    reader: Engine
    readers: int
    fault: Callable[[BaseException], Fault]
    turn: AbstractContextManager[object]


class Driver(Protocol):
    """The two calls that every driver's connection has."""

    def execute(self, statement: str, /) -> object: ...

    def rollback(self) -> None: ...


def driver(connection: Connection) -> Driver:
    """The driver's own connection, for the statements whose cost through SQLAlchemy would double the work's."""
    found: Driver | None = connection.connection.driver_connection
    if found is None:
        raise StanchionError("the database connection is detached")
    return found


def reason(error: BaseException) -> str:
    """The engine's own words, without the statement and its values: those may hold personal data."""
    return str(error.orig if isinstance(error, DBAPIError) else error).strip() or type(error).__name__
