"""What a killed process had been promised is there afterwards, and nothing is half-done."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stanchion.core.clock import SystemClock
from stanchion.core.storage.open import open_blobs, open_keyvalue

KILLS = [
    pytest.param(20, marks=pytest.mark.timeout(230)),
    pytest.param(200, marks=[pytest.mark.soak, pytest.mark.timeout(2030)]),
]

# Each write inserts two rows with its number; it is printed only once the write has returned.
WRITER = """
import asyncio, os, sys
from sqlalchemy import BigInteger, Column, MetaData, Table, insert
from stanchion.core.context import Context
from stanchion.core.storage import Schema
from stanchion.core.storage.open import open_database

metadata = MetaData()
tables = [Table(name, metadata, Column("id", BigInteger, primary_key=True, autoincrement=False)) for name in "ab"]

async def write(database, number):
    def work(connection):
        for table in tables:
            connection.execute(insert(table).values(id=number))
    await database.write(Context("t", "p"), work)
    os.write(1, b"%d\\n" % number)

async def main(url, number):
    database = open_database(url)
    await database.prepare(Schema("pairs", metadata))
    while True:
        await asyncio.gather(*(write(database, number + step) for step in range(20)))
        number += 20

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


def killed(program: str, *arguments: str, lines: int, delay: float) -> list[str]:
    """Run the program, kill it `delay` seconds after it printed `lines` lines; all that it printed."""
    child = subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child:
        told = [child.stdout.readline() for _ in range(lines)]
        time.sleep(delay)  # the random moment of the kill
        child.kill()
        told += child.stdout.readlines()
    return [line for line in told if line.endswith("\n")]


@pytest.mark.parametrize("kills", KILLS)
def test_every_acknowledged_write_survives_a_kill_at_any_moment(tmp_path: Path, kills: int) -> None:
    file, chance = tmp_path / "some.db", random.Random(7)
    acknowledged: set[int] = set()
    for kill in range(kills):
        told = killed(
            WRITER,
            f"sqlite://{file}",
            str(kill * 1_000_000),
            lines=chance.randrange(1, 100),
            delay=chance.random() * 0.02,
        )
        acknowledged.update(int(line) for line in told)
        with sqlite3.connect(file) as link:
            assert link.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            left, right = (set(link.execute(query)) for query in ("SELECT id FROM a", "SELECT id FROM b"))
        link.close()
        assert left == right
        assert {(number,) for number in acknowledged} <= left


KEYS = """
import asyncio, os, sys
from stanchion.core.clock import SystemClock
from stanchion.core.storage.open import open_keyvalue

async def main(url):
    store = open_keyvalue(url, clock=SystemClock())
    while True:
        os.write(1, b"%d\\n" % await store.increment("n"))

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.parametrize("kills", KILLS)
async def test_no_acknowledged_count_is_lost_by_a_kill(tmp_path: Path, kills: int) -> None:
    url, chance = f"sqlite://{tmp_path}/kv.db", random.Random(7)
    for _ in range(kills // 5):
        told = killed(KEYS, url, lines=chance.randrange(1, 100), delay=chance.random() * 0.02)
        store = open_keyvalue(url, clock=SystemClock())
        [value] = await store.get(["n"])
        await store.close()
        assert int(told[-1]) <= int(value or b"0") <= int(told[-1]) + 1


BLOBS = """
import asyncio, os, sys
from stanchion.core.storage.open import open_blobs

async def main(url):
    blobs, number = open_blobs(url), 0
    while True:
        await blobs.put("a/b", b"%06d" % number * 50_000)
        os.write(1, b"%d\\n" % number)
        number += 1

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.parametrize("kills", KILLS)
async def test_a_blob_is_old_or_new_after_a_kill(tmp_path: Path, kills: int) -> None:
    chance = random.Random(7)
    for _ in range(kills // 5):
        told = killed(BLOBS, tmp_path.as_uri(), lines=chance.randrange(1, 20), delay=chance.random() * 0.02)
        blobs = open_blobs(tmp_path.as_uri())
        content = await blobs.get("a/b")
        assert len(content) == 300_000
        assert content == content[:6] * 50_000
        assert int(content[:6]) - int(told[-1]) in (0, 1)
        assert [name async for name in blobs.list()] == ["a/b"]


def test_two_processes_write_one_file(tmp_path: Path) -> None:
    file = tmp_path / "some.db"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, f"sqlite://{file}", str(first)], stdout=subprocess.PIPE, text=True
        )
        for first in (0, 1_000_000)
    ]
    told: list[int] = []
    for child in children:
        assert child.stdout is not None
        told += [int(child.stdout.readline()) for _ in range(300)]
    for child in children:
        with child:
            child.kill()
    with sqlite3.connect(file) as link:
        stored = {row[0] for row in link.execute("SELECT id FROM a")}
    link.close()
    assert stored.issuperset(told)
    assert min(stored) < 1_000_000 <= max(stored)
