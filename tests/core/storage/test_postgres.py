"""What is PostgreSQL's own: lost connections, locks, aborted transactions."""

from __future__ import annotations

from collections.abc import AsyncIterator

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from stanchion.core.context import Context
from stanchion.core.errors import Misconfigured, Unavailable
from stanchion.core.storage import Database, Schema
from stanchion.core.storage.open import open_database
from stanchion.core.storage.sql import postgres

CTX = Context("acme", "tester")
_metadata = sa.MetaData()
NOTE = sa.Table("note", _metadata, sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False))


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    database = open_database(postgres_url)
    await database.prepare(Schema("notes", _metadata))
    yield database
    await database.close()


def add(connection: Connection, number: int) -> None:
    connection.execute(sa.insert(NOTE).values(id=number))


def numbers(connection: Connection) -> list[int]:
    return list(connection.execute(sa.select(NOTE.c.id).order_by(NOTE.c.id)).scalars())


def disconnect_all(url: str) -> None:
    """End every connection to this test's database, as a restart of the server does."""
    with psycopg.connect(url, autocommit=True) as link:
        link.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


async def test_after_a_restart_of_the_server_reads_and_writes_go_on(database: Database, postgres_url: str) -> None:
    await database.write(CTX, lambda c: add(c, 1))
    assert await database.read(numbers) == [1]
    disconnect_all(postgres_url)
    await database.write(CTX, lambda c: add(c, 2))
    disconnect_all(postgres_url)
    assert await database.read(numbers) == [1, 2]


@pytest.mark.parametrize(
    "accident",
    ["SELECT pg_terminate_backend(pg_backend_pid())", "DO $$BEGIN RAISE EXCEPTION '' USING ERRCODE = '40001'; END$$"],
    ids=["connection lost", "serialisation failure"],
)
async def test_a_batch_that_had_not_reached_commit_is_tried_once_more(database: Database, accident: str) -> None:
    runs = []

    def work(connection: Connection) -> int:
        add(connection, 1)
        runs.append(1)
        if len(runs) == 1:
            connection.exec_driver_sql(accident)
        return len(runs)

    assert await database.write(CTX, work) == 2
    assert await database.read(numbers) == [1]


async def test_a_second_accident_is_unavailable(database: Database) -> None:
    def work(connection: Connection) -> None:
        add(connection, 1)
        connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(Unavailable, match="not stored"):
        await database.write(CTX, work)
    with pytest.raises(Unavailable):
        await database.read(lambda c: c.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())"))
    assert await database.read(numbers) == []


async def test_a_commit_of_unknown_outcome_says_so_and_is_not_repeated(database: Database) -> None:
    await database.write(
        CTX,
        lambda c: (
            c.exec_driver_sql(
                "CREATE FUNCTION die() RETURNS trigger AS "
                "$$BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END$$ LANGUAGE plpgsql;"
                "CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON note DEFERRABLE INITIALLY DEFERRED "
                "FOR EACH ROW EXECUTE FUNCTION die()"
            )
            and None
        ),
    )
    runs = []
    with pytest.raises(Unavailable, match="unknown"):
        await database.write(CTX, lambda c: (runs.append(1), add(c, 1)))
    assert len(runs) == 1


async def test_a_work_that_swallows_a_failed_statement_fails(database: Database) -> None:
    def work(connection: Connection) -> None:
        add(connection, 1)
        with pytest.raises(sa.exc.IntegrityError):
            add(connection, 1)

    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        await database.write(CTX, work)
    assert await database.read(numbers) == []


async def test_a_lock_held_too_long_is_unavailable(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "LOCK_SECONDS", "0.05")
    database = open_database(postgres_url)
    await database.prepare(Schema("notes", _metadata))
    with psycopg.connect(postgres_url) as other:
        other.execute("LOCK TABLE note")
        with pytest.raises(Unavailable, match="lock"):
            await database.write(CTX, lambda c: add(c, 1))
    await database.write(CTX, lambda c: add(c, 1))
    await database.close()


async def test_a_database_that_need_not_be_durable_does_not_wait_for_the_disk(postgres_url: str) -> None:
    database = open_database(postgres_url, durable=False)
    assert await database.read(lambda c: c.exec_driver_sql("SHOW synchronous_commit").scalar()) == "off"
    await database.close()


async def test_an_absent_server_is_unavailable_and_the_password_is_not_told() -> None:
    database = open_database("postgresql://someone:s3cret@127.0.0.1:1/none")
    for call in (database.read(numbers), database.write(CTX, numbers), database.prepare(Schema("notes", _metadata))):
        with pytest.raises(Unavailable) as caught:
            await call
        assert "s3cret" not in str(caught.value)
    await database.close()


def test_an_address_that_cannot_be_read_is_misconfigured() -> None:
    with pytest.raises(Misconfigured):
        open_database("postgresql://someone:s3cret@host:port/none")
