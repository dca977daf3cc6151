"""Brings a module's tables to the version its program needs, once, whoever comes first."""

from __future__ import annotations

from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, insert, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from ...errors import Misconfigured
from ..schema import Schema
from .engine import SqlEngine, driver, reason

_versions = Table(
    "stanchion_schema",
    MetaData(),
    Column("module", String(64), primary_key=True),
    Column("version", Integer, nullable=False),
)
_LOCK = 7_823_914_022  # any number that no other program on the same PostgreSQL server takes


def bring(engine: SqlEngine, schema: Schema) -> None:
    """Create the tables, or run the steps that are missing, in one transaction.

    Raises Misconfigured if the tables are newer than the schema, or cannot be made as it says.
    """
    with engine.turn, engine.writer.connect() as connection:
        link = driver(connection)
        if engine.dialect == "sqlite":
            # Alembic changes a SQLite table by replacing it, which must not cascade into the tables that refer to it.
            # The switch is ignored inside a transaction, so it comes before: https://sqlite.org/lang_altertable.html
            link.execute("PRAGMA foreign_keys=OFF")
        try:
            with connection.begin():
                _bring(connection, schema)
        except SQLAlchemyError as error:
            if engine.fault(error) != "caller":
                raise
            raise Misconfigured(f"the tables of {schema.module} could not be made: {reason(error)}") from error
        finally:
            if engine.dialect == "sqlite":
                link.execute("PRAGMA foreign_keys=ON")


def _bring(connection: Connection, schema: Schema) -> None:
    if connection.dialect.name == "postgresql":
        # Whoever migrates may take long; the others wait for it as SQLite's BEGIN IMMEDIATE makes them.
        connection.execute(text("SET LOCAL lock_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    _versions.create(connection, checkfirst=True)
    mine = _versions.c.module == schema.module
    version = connection.execute(select(_versions.c.version).where(mine)).scalar_one_or_none()
    if version is None:
        schema.metadata.create_all(connection, checkfirst=False)
        connection.execute(insert(_versions).values(module=schema.module, version=schema.version))
    elif version > schema.version:
        raise Misconfigured(
            f"the tables of {schema.module} are at version {version}, newer than this program's {schema.version}",
            next_step="Run the program version that wrote them, or a newer one.",
        )
    elif version < schema.version:
        _step(connection, schema, version)
        connection.execute(update(_versions).where(mine).values(version=schema.version))


def _step(connection: Connection, schema: Schema, version: int) -> None:
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    operations = Operations(MigrationContext.configure(connection))
    for step in schema.steps[version - 1 :]:
        step(operations)
    if connection.dialect.name == "sqlite" and (
        broken := connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    ):
        raise Misconfigured(f"a step of {schema.module} leaves rows of {broken[0]} that refer to nothing")
