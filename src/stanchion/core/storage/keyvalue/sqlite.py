"""Key-value in a SQLite file of its own: survives a restart, shared by the processes of one machine."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from ...clock import Clock
from ...errors import Unavailable
from ..contract import KeyValue
from ..sql.sqlite import connect_file
from .rules import check_by, check_keys, check_ttl, total

T = TypeVar("T")
_PAGE = 500
_SWEEP_EVERY = 64
_AT_ONCE = 500
# A read of so few keys takes tens of microseconds, less than the way to a thread and back, and in a busy process the
# way back waits for the interpreter's lock besides.
_FEW = 128

# Keys are blobs, so that they sort and compare by their bytes. Expiry is in microseconds since the epoch.
_TABLES = """
CREATE TABLE IF NOT EXISTS entry (key BLOB PRIMARY KEY, value BLOB NOT NULL, expires INTEGER) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entry_expires ON entry (expires) WHERE expires IS NOT NULL;
"""
_PUT = "INSERT OR REPLACE INTO entry VALUES (?, ?, ?)"
_VALUE = "SELECT key, value FROM entry WHERE key = ? AND (expires IS NULL OR expires > ?)"
# Takes a third less than `key IN (...)`, which sorts what is asked for first; CROSS keeps the order of the two tables.
_ASKED = "WITH asked (name) AS (VALUES "
_VALUES = ") SELECT key, value FROM asked CROSS JOIN entry ON key = name AND (expires IS NULL OR expires > ?)"
_DELETE = "DELETE FROM entry WHERE key = ? AND (expires IS NULL OR expires > ?)"
_KEYS = "SELECT key FROM entry WHERE key >= ? AND (expires IS NULL OR expires > ?) ORDER BY key LIMIT ?"
_SWEEP = "DELETE FROM entry WHERE key IN (SELECT key FROM entry WHERE expires <= ? LIMIT 256)"


class SqliteKeyValue(KeyValue):
    """One file, one thread. A commit does not wait for the disk: a power cut may lose the last ones, a kill none.

    A few keys are read on the event loop, over a connection of their own: readers wait for no writer in WAL mode.
    Raises Unavailable if the file cannot be opened.
    """

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self._clock = clock
        self._writes = 0
        self._closed = False
        with _trouble():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._link = connect_file(path, "PRAGMA synchronous=NORMAL")
            self._link.executescript(_TABLES)
            self._reader = connect_file(path, "PRAGMA query_only=ON", "PRAGMA busy_timeout=0")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="stanchion-keyvalue")

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        check_keys(keys)
        places = [key.encode() for key in keys]
        if len(places) <= _FEW and not self._closed:
            # A reader that would have to wait all the same is not waited for: the thread reads, and says what is wrong.
            with suppress(sqlite3.Error):
                return self._get(places, self._reader)
        return await self._run(lambda: self._get(places, self._link))

    async def set(self, items: Mapping[str, bytes], *, ttl: float | None = None) -> None:
        check_keys(items)
        check_ttl(ttl)
        expires = self._expires(ttl)
        rows = [(key.encode(), bytes(value), expires) for key, value in items.items()]
        await self._run(lambda: self._write(lambda: self._link.executemany(_PUT, rows)))

    async def delete(self, keys: Sequence[str]) -> int:
        check_keys(keys)
        return await self._run(lambda: self._write(lambda: self._delete([key.encode() for key in keys])))

    async def increment(self, key: str, by: int = 1, *, ttl: float | None = None) -> int:
        check_keys([key])
        check_ttl(ttl)
        check_by(by)
        return await self._run(lambda: self._write(lambda: self._increment(key.encode(), by, ttl)))

    async def swap(self, key: str, expected: bytes | None, new: bytes | None, *, ttl: float | None = None) -> bool:
        check_keys([key])
        check_ttl(ttl)
        return await self._run(lambda: self._write(lambda: self._swap(key.encode(), expected, new, ttl)))

    async def scan(self, prefix: str) -> AsyncIterator[str]:
        wanted = start = prefix.encode()
        while True:
            page = await self._run(partial(self._page, start))
            for key in page:
                if not key.startswith(wanted):
                    return
                yield key.decode()
            if len(page) < _PAGE:
                return
            start = page[-1] + b"\0"

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._reader.close()
            self._thread.submit(self._link.close)
            await asyncio.get_running_loop().run_in_executor(None, self._thread.shutdown)

    async def _run(self, call: Callable[[], T]) -> T:
        if self._closed:
            raise Unavailable("the key-value store is closed")
        with _trouble():
            return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _write(self, call: Callable[[], T]) -> T:
        self._link.execute("BEGIN IMMEDIATE")
        try:
            result = call()
            self._writes += 1
            if self._writes % _SWEEP_EVERY == 0:
                self._link.execute(_SWEEP, (self._now(),))
            self._link.execute("COMMIT")
        except BaseException:
            # A full disk may have ended the transaction already.
            if self._link.in_transaction:
                self._link.execute("ROLLBACK")
            raise
        return result

    def _get(self, keys: Sequence[bytes], link: sqlite3.Connection) -> list[bytes | None]:
        found: dict[bytes, bytes] = {}
        for first in range(0, len(keys), _AT_ONCE):
            some = keys[first : first + _AT_ONCE]
            query = _VALUE if len(some) == 1 else _ASKED + ",".join(["(?)"] * len(some)) + _VALUES
            found.update(link.execute(query, (*some, self._now())))
        return [found.get(key) for key in keys]

    def _put(self, key: bytes, value: bytes, ttl: float | None) -> None:
        self._link.execute(_PUT, (key, bytes(value), self._expires(ttl)))

    def _delete(self, keys: Sequence[bytes]) -> int:
        now = self._now()
        rows = [(key, now) for key in keys]
        return self._link.executemany(_DELETE, rows).rowcount if rows else 0

    def _increment(self, key: bytes, by: int, ttl: float | None) -> int:
        [value] = self._get([key], self._link)
        result = total(value, by)
        if value is None:
            self._put(key, b"%d" % result, ttl)
        else:
            self._link.execute("UPDATE entry SET value = ? WHERE key = ?", (b"%d" % result, key))
        return result

    def _swap(self, key: bytes, expected: bytes | None, new: bytes | None, ttl: float | None) -> bool:
        if self._get([key], self._link) != [expected]:
            return False
        if new is None:
            self._link.execute("DELETE FROM entry WHERE key = ?", (key,))
        else:
            self._put(key, new, ttl)
        return True

    def _page(self, start: bytes) -> list[bytes]:
        return [key for (key,) in self._link.execute(_KEYS, (start, self._now(), _PAGE))]

    def _now(self) -> int:
        return int(self._clock.now().timestamp() * 1_000_000)

    def _expires(self, ttl: float | None) -> int | None:
        # At least one microsecond, so that a tiny lifetime is not none at all.
        return None if ttl is None else self._now() + max(1, int(ttl * 1_000_000))


@contextmanager
def _trouble() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise Unavailable(f"the key-value store did not answer: {error}") from error
