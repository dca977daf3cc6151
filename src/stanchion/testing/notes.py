"""The tables, works and journal that the database suite tries every engine with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn

import sqlalchemy as sa
from alembic.operations import Operations
from sqlalchemy import Connection

from stanchion.core.context import Context, Effect
from stanchion.core.storage import Journal, Schema

METADATA = sa.MetaData()
NOTE = sa.Table(
    "note",
    METADATA,
    sa.Column("tenant", sa.String(64), primary_key=True),
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("body", sa.String),
)
EVENT = sa.Table("event", METADATA, sa.Column("id", sa.Integer, primary_key=True), sa.Column("what", sa.String))
NOTES = Schema("notes", METADATA)
CTX = Context("acme", "tester")


class TableJournal(Journal):
    """Writes the effects into a table, or fails as told."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.commits = 0

    def record(self, connection: Connection, effects: Sequence[Effect]) -> None:
        connection.execute(sa.insert(EVENT), [{"what": effect.resource} for effect in effects])
        if self.failure is not None:
            raise self.failure

    def committed(self) -> None:
        self.commits += 1


def effect(resource: str) -> Effect:
    """An effect to be recorded."""
    return Effect("notes:write", "write", resource, "acme", "tester", "request", "trace")


def add(number: int, body: str = "") -> Callable[[Connection], int]:
    """Work that inserts one note and returns its number."""

    def work(connection: Connection) -> int:
        connection.execute(sa.insert(NOTE).values(tenant="acme", id=number, body=body))
        return number

    return work


def add_then_raise(number: int, error: BaseException) -> Callable[[Connection], NoReturn]:
    """Work that inserts one note and fails."""

    def work(connection: Connection) -> NoReturn:
        add(number)(connection)
        raise error

    return work


def numbers(connection: Connection) -> list[int]:
    """The numbers of all notes."""
    return list(connection.execute(sa.select(NOTE.c.id).order_by(NOTE.c.id)).scalars())


def events(connection: Connection) -> list[str]:
    """What the journal recorded, in order."""
    return list(connection.execute(sa.select(EVENT.c.what).order_by(EVENT.c.id)).scalars())


def grown() -> Schema:
    """The notes two versions later: one step changes values, one adds a column that may not be empty."""
    metadata = sa.MetaData()
    sa.Table(
        "note",
        metadata,
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("body", sa.String),
        sa.Column("stars", sa.Integer, nullable=False),
    )

    def shout(operations: Operations) -> None:
        operations.execute("UPDATE note SET body = upper(body)")

    def rate(operations: Operations) -> None:
        with operations.batch_alter_table("note") as table:
            table.add_column(sa.Column("stars", sa.Integer, nullable=False, server_default="3"))
        with operations.batch_alter_table("note") as table:
            table.alter_column("stars", server_default=None)

    return Schema("notes", metadata, (shout, rate))
