"""What is each key-value engine's own: memory, files, the server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from stanchion.core.errors import Unavailable
from stanchion.core.storage.keyvalue.memory import MemoryKeyValue
from stanchion.core.storage.keyvalue.sqlite import SqliteKeyValue
from stanchion.core.storage.open import open_keyvalue
from stanchion.testing.clock import FakeClock


async def test_memory_forgets_expired_entries_as_others_are_written() -> None:
    clock = FakeClock()
    store = MemoryKeyValue(clock=clock)
    await store.set({f"k{n}": b"" for n in range(1_000)}, ttl=1)
    clock.advance(2)
    for _ in range(20):
        await store.set({"other": b""})
    assert len(store._entries) == 1


async def test_memory_does_not_grow_while_one_key_is_rewritten() -> None:
    store = MemoryKeyValue(clock=FakeClock())
    for _ in range(1_000):
        await store.set({"k": b""}, ttl=3_600)
    assert len(store._expiries) <= 200


async def test_a_file_keeps_values_and_lifetimes_over_a_restart(tmp_path: Path) -> None:
    clock = FakeClock()
    for _ in range(2):
        store = open_keyvalue(f"sqlite://{tmp_path}/kv.db", clock=clock)
        await store.increment("n", ttl=10)
        await store.close()
        clock.advance(6)
    store = open_keyvalue(f"sqlite://{tmp_path}/kv.db", clock=clock)
    assert await store.get(["n"]) == [None]
    await store.close()


async def test_a_file_forgets_expired_entries_as_others_are_written(tmp_path: Path) -> None:
    clock = FakeClock()
    store = SqliteKeyValue(tmp_path / "kv.db", clock=clock)
    await store.set({f"k{n}": b"" for n in range(200)}, ttl=1)
    clock.advance(2)
    for _ in range(64):
        await store.set({"other": b""})
    assert await store._run(lambda: store._link.execute("SELECT count(*) FROM entry").fetchone()) == (1,)
    await store.close()


async def test_two_openings_of_a_file_count_together(tmp_path: Path) -> None:
    several = [open_keyvalue(f"sqlite://{tmp_path}/kv.db", clock=FakeClock()) for _ in range(3)]
    await asyncio.gather(*(store.increment("n") for store in several for _ in range(50)))
    assert await several[0].get(["n"]) == [b"150"]
    for store in several:
        await store.close()


async def test_a_closed_file_is_unavailable(tmp_path: Path) -> None:
    store = open_keyvalue(f"sqlite://{tmp_path}/kv.db", clock=FakeClock())
    await store.close()
    await store.close()
    with pytest.raises(Unavailable):
        await store.get(["k"])


def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "kv.db").write_bytes(b"no database" * 200)
    with pytest.raises(Unavailable):
        open_keyvalue(f"sqlite://{tmp_path}/kv.db", clock=FakeClock())


async def test_an_absent_server_is_unavailable() -> None:
    pytest.importorskip("redis")
    store = open_keyvalue("redis://127.0.0.1:1/0", clock=FakeClock())
    with pytest.raises(Unavailable):
        await store.get(["k"])
    with pytest.raises(Unavailable):
        await anext(aiter(store.scan("")))
    await store.close()


async def test_a_connection_that_died_while_idle_is_replaced(redis_url: str, redis_prefix: str) -> None:
    from redis.asyncio import Redis

    store = open_keyvalue(f"{redis_url}?prefix={redis_prefix}&client_name={redis_prefix}", clock=FakeClock())
    await store.increment("n")
    async with Redis.from_url(redis_url) as admin:
        [mine] = [client for client in await admin.client_list() if client["name"] == redis_prefix]
        await admin.client_kill_filter(_id=mine["id"])
        assert await admin.ping()  # by the time of the answer this event loop has read the other connection's end
    assert await store.increment("n") == 2
    await store.close()


async def test_programs_with_different_prefixes_share_nothing(redis_url: str, redis_prefix: str) -> None:
    mine, yours = (open_keyvalue(f"{redis_url}?prefix={redis_prefix}{who}:", clock=FakeClock()) for who in "ab")
    await mine.set({"k": b"mine"})
    assert await yours.get(["k"]) == [None]
    assert [key async for key in yours.scan("")] == []
    await mine.close()
    await yours.close()
