"""What is SQLite's own: its pragmas, its lock, its errors."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from threading import Event

import pytest
import sqlalchemy as sa
from alembic.operations import Operations
from sqlalchemy import Connection

from stanchion.core.context import Context, Effect
from stanchion.core.errors import Misconfigured, Unavailable
from stanchion.core.storage import Database, Journal, Schema
from stanchion.core.storage.open import open_database
from stanchion.core.storage.sql import sqlite

CTX = Context("acme", "tester")
_metadata = sa.MetaData()
OWNER = sa.Table("owner", _metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String))
THING = sa.Table(
    "thing",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("owner", sa.ForeignKey("owner.id", ondelete="CASCADE"), nullable=False),
)
SCHEMA = Schema("things", _metadata)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = open_database(f"sqlite://{tmp_path}/some.db")
    await database.prepare(SCHEMA)
    yield database
    await database.close()


def add_owner(number: int, name: str = "") -> object:
    return lambda c: c.execute(sa.insert(OWNER).values(id=number, name=name)) and None


def owners(connection: Connection) -> list[int]:
    return list(connection.execute(sa.select(OWNER.c.id)).scalars())


async def pragma(database: Database, name: str) -> object:
    return await database.write(CTX, lambda c: c.exec_driver_sql(f"PRAGMA {name}").scalar())


async def test_a_durable_database_syncs_its_log_at_every_commit(database: Database, tmp_path: Path) -> None:
    assert await pragma(database, "journal_mode") == "wal"
    assert await pragma(database, "synchronous") == 2
    assert await pragma(database, "foreign_keys") == 1
    lax = open_database(f"sqlite://{tmp_path}/some.db", durable=False)
    assert await pragma(lax, "synchronous") == 1
    await lax.close()


async def test_a_thousand_concurrent_writes_share_a_few_commits(tmp_path: Path) -> None:
    class Counting(Journal):
        batches = 0

        def record(self, connection: Connection, effects: Sequence[Effect]) -> None:
            pass

        def committed(self) -> None:
            self.batches += 1

    journal = Counting()
    database = open_database(f"sqlite://{tmp_path}/some.db", journal=journal)
    await database.prepare(SCHEMA)
    ctx = CTX.within(Effect("a:b", "write", "r", "acme", "tester", "q", "t"))
    await asyncio.gather(*(database.write(ctx, add_owner(n)) for n in range(1_000)))
    await database.close()
    assert 1 <= journal.batches <= 20


async def test_a_lock_held_too_long_is_unavailable_and_does_not_stop_readers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    database = open_database(f"sqlite://{tmp_path}/some.db")
    await database.prepare(SCHEMA)
    other = sqlite3.connect(tmp_path / "some.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked"):
        await database.write(CTX, add_owner(1))
    assert await database.read(owners) == []
    other.execute("ROLLBACK")
    await database.write(CTX, add_owner(1))
    assert await database.read(owners) == [1]
    other.close()
    await database.close()


async def test_a_full_disk_is_unavailable_until_there_is_room(database: Database) -> None:
    await pragma(database, "max_page_count=10")
    with pytest.raises(Unavailable, match="full"):
        await database.write(CTX, add_owner(1, "x" * 1_000_000))
    assert await database.read(owners) == []
    await pragma(database, "max_page_count=100000")
    await database.write(CTX, add_owner(1, "x" * 1_000_000))
    assert await database.read(owners) == [1]


async def test_a_work_that_swallows_a_full_disk_is_not_taken_for_done(database: Database) -> None:
    def swallow(connection: Connection) -> None:
        connection.execute(sa.insert(OWNER).values(id=1))
        connection.exec_driver_sql("PRAGMA max_page_count=10")
        with pytest.raises(sa.exc.OperationalError):
            connection.execute(sa.insert(OWNER).values(id=2, name="x" * 1_000_000))
        connection.exec_driver_sql("PRAGMA max_page_count=100000")

    outcome = await asyncio.gather(database.write(CTX, swallow), return_exceptions=True)
    stored = await database.read(owners)
    assert stored == ([1] if outcome == [None] else [])


@pytest.mark.parametrize("content", [b"this is no database" * 100])
async def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "some.db").write_bytes(content)
    database = open_database(f"sqlite://{tmp_path}/some.db")
    with pytest.raises(Unavailable, match="not a database"):
        await database.prepare(SCHEMA)
    with pytest.raises(Unavailable, match="not a database"):
        await database.write(CTX, add_owner(1))
    await database.close()


async def test_a_file_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(Unavailable):
        open_database(f"sqlite://{tmp_path}/file/some.db")
    database = open_database(f"sqlite://{tmp_path}/folder")
    with pytest.raises(Unavailable, match="unable to open"):
        await database.read(owners)
    await database.close()


async def test_a_foreign_key_holds_and_a_replaced_table_does_not_cascade(database: Database) -> None:
    def rename(operations: Operations) -> None:
        with operations.batch_alter_table("owner") as table:
            table.alter_column("name", nullable=False, server_default="nobody")

    await database.write(CTX, add_owner(1, "one"))
    await database.write(CTX, lambda c: c.execute(sa.insert(THING).values(id=1, owner=1)) and None)
    with pytest.raises(sa.exc.IntegrityError):
        await database.write(CTX, lambda c: c.execute(sa.insert(THING).values(id=2, owner=7)) and None)
    await database.prepare(Schema("things", _metadata, (rename,)))
    assert await database.read(lambda c: c.execute(sa.select(THING.c.id)).scalars().all()) == [1]
    await database.write(CTX, lambda c: c.execute(sa.delete(OWNER)) and None)
    assert await database.read(lambda c: c.execute(sa.select(THING.c.id)).scalars().all()) == []


async def test_a_step_that_leaves_loose_ends_is_refused(database: Database) -> None:
    await database.write(CTX, add_owner(1, "one"))
    await database.write(CTX, lambda c: c.execute(sa.insert(THING).values(id=1, owner=1)) and None)
    with pytest.raises(Misconfigured, match="refer to nothing"):
        await database.prepare(
            Schema("things", _metadata, (lambda operations: operations.execute("DELETE FROM owner"),))
        )
    assert await database.read(owners) == [1]


async def test_tables_of_somebody_else_are_not_taken_over(database: Database) -> None:
    with pytest.raises(Misconfigured, match="already exists"):
        await database.prepare(Schema("others", _metadata))


async def test_a_cancelled_read_frees_its_thread(database: Database) -> None:
    begun, may_end = Event(), Event()

    def slow(connection: Connection) -> None:
        begun.set()
        assert may_end.wait(30)

    reading = asyncio.create_task(database.read(slow))
    await asyncio.to_thread(begun.wait, 30)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    may_end.set()
    assert await asyncio.gather(*(database.read(owners) for _ in range(4))) == [[]] * 4


def test_writes_from_several_event_loops_are_all_answered(tmp_path: Path) -> None:
    database = open_database(f"sqlite://{tmp_path}/some.db")

    async def several(first: int) -> None:
        await asyncio.gather(*(database.write(CTX, add_owner(first + n)) for n in range(50)))

    asyncio.run(database.prepare(SCHEMA))

    async def both() -> None:
        await asyncio.gather(*(asyncio.to_thread(asyncio.run, several(first)) for first in (0, 1_000)))

    asyncio.run(both())
    assert len(asyncio.run(database.read(owners))) == 100
    asyncio.run(database.close())
