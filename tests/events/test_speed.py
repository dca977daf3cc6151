"""What is done in an unusual way so that events are quick does the same as the usual way."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import pytest
from sqlalchemy import Connection

from stanchion.core.context import system_context
from stanchion.core.errors import NotTrustworthy
from stanchion.core.storage.open import open_database
from stanchion.events.backends.statements import many, rows, run
from stanchion.events.packing import KeyedSeal
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
