"""What is done in an unusual way so that events are quick does the same as the usual way."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from stanchion.core.clock import SystemClock
from stanchion.core.context import system_context
from stanchion.core.errors import NotTrustworthy
from stanchion.core.storage.open import open_database
from stanchion.events.backends import log
from stanchion.events.backends.sql import SqlBus
from stanchion.events.backends.statements import many, rows, run
from stanchion.events.backends.tables import SCHEMA
from stanchion.events.keeping import handled
from stanchion.events.packing import KeyedSeal
from stanchion.testing.event_bus import ALL, entry
from stanchion.testing.events import SIGNER, sqlite_url


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 10_000])
def test_the_seal_is_an_hmac(size: int) -> None:
    key = hashlib.sha256(SIGNER.sign(b"seal", purpose="events-author")).digest()
    body, seal = b"x" * size, KeyedSeal(SIGNER)
    closed = seal.close(body)
    assert closed == hmac.digest(key, body, "sha256") + body
    assert seal.open(closed) == body
    with pytest.raises(NotTrustworthy):
        seal.open(closed + b"!")


@pytest.mark.parametrize("number", [1, 2, 7, 8, 42, 128, 300])
async def test_many_rows_are_inserted_in_their_order_and_conflicts_as_one_by_one(number: int, tmp_path: Path) -> None:
    database = open_database(sqlite_url(tmp_path))

    def work(connection: Connection) -> list[tuple[int, str]]:
        run(connection, "CREATE TABLE made (seq INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, value TEXT)")
        text = "INSERT INTO made (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        many(connection, text, [(f"n{each}", "old") for each in range(number)])
        many(connection, text, [("n0", "new"), ("n0", "newer")])
        found = rows(connection, "SELECT seq, name, value FROM made ORDER BY seq")
        assert [seq for seq, _, _ in found] == list(range(1, number + 1))
        return [(name, value) for _, name, value in found]

    try:
        found = await database.write(system_context("*", task="test"), work)
    finally:
        await database.close()
    assert found == [("n0", "newer"), *[(f"n{each}", "old") for each in range(1, number)]]


@pytest.mark.parametrize("number", [1, 2, 8, 9, 50, 51, 200, 201, 430])
async def test_what_was_handled_is_found_however_many_are_asked_for(number: int, tmp_path: Path) -> None:
    database = open_database(sqlite_url(tmp_path))
    await database.prepare(SCHEMA)
    names = [("acme", f"/{each % 2}", f"e{each}") for each in range(number)]
    known = names[::3]
    text = "INSERT INTO events_handled (tenant, consumer, source, id) VALUES (?, 'c', ?, ?)"
    ctx = system_context("*", task="test")
    try:
        await database.write(ctx, lambda c: many(c, text, [(tenant, source, id_) for tenant, source, id_ in known]))
        assert await database.read(lambda c: handled.among(c, "c", names)) == set(known)
        assert await database.read(lambda c: handled.among(c, "other", names)) == set()
    finally:
        await database.close()


async def test_a_reader_at_the_head_asks_the_database_nothing_for_what_its_own_process_appends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    page = log.page

    def counted(*given: Any, **more: Any) -> Any:
        nonlocal asked
        asked += 1
        return page(*given, **more)

    monkeypatch.setattr(log, "page", counted)
    database = open_database(sqlite_url(tmp_path))
    await database.prepare(SCHEMA)
    bus = SqlBus(database, SystemClock())
    await bus.start()
    after = dict(ALL)
    try:
        for number in range(20):
            reading = asyncio.create_task(bus.read(after, limit=10, wait=60.0))
            await asyncio.sleep(0)
            await bus.append([entry(number)])
            found = await reading
            assert [each.body for each in found.entries] == [entry(number).body]
            after.update(found.reached)
    finally:
        await bus.stop()
        await database.close()
    assert asked < 10, "once before anybody looks for what others append, and now and then for those"
