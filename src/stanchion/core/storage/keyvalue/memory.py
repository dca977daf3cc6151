"""Key-value in this process: for development, tests, and caches that may be lost."""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Mapping, Sequence

from ...clock import Clock
from ..contract import KeyValue
from .rules import check_by, check_keys, check_ttl, total

_SWEEP = 64


class MemoryKeyValue(KeyValue):
    """A dictionary with expiry, for one event loop; no method waits, so each is atomic.

    An expired entry is passed over at once and its memory freed by later writes, at most 64 entries for each.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._entries: dict[str, tuple[bytes, float | None]] = {}
        self._expiries: list[tuple[float, str]] = []

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        check_keys(keys)
        now = self._clock.monotonic()
        return [self._live(key, now) for key in keys]

    async def set(self, items: Mapping[str, bytes], *, ttl: float | None = None) -> None:
        check_keys(items)
        check_ttl(ttl)
        for key, value in items.items():
            self._put(key, value, ttl)
        self._sweep()

    async def delete(self, keys: Sequence[str]) -> int:
        check_keys(keys)
        now = self._clock.monotonic()
        there = [key for key in dict.fromkeys(keys) if self._live(key, now) is not None]
        for key in keys:
            self._entries.pop(key, None)
        return len(there)

    async def increment(self, key: str, by: int = 1, *, ttl: float | None = None) -> int:
        check_keys([key])
        check_ttl(ttl)
        check_by(by)
        now = self._clock.monotonic()
        value = self._live(key, now)
        result = total(value, by)
        if value is None:
            self._put(key, b"%d" % result, ttl)
            self._sweep()
        else:
            self._entries[key] = (b"%d" % result, self._entries[key][1])
        return result

    async def swap(self, key: str, expected: bytes | None, new: bytes | None, *, ttl: float | None = None) -> bool:
        check_keys([key])
        check_ttl(ttl)
        if self._live(key, self._clock.monotonic()) != expected:
            return False
        if new is None:
            self._entries.pop(key, None)
        else:
            self._put(key, new, ttl)
        self._sweep()
        return True

    async def scan(self, prefix: str) -> AsyncIterator[str]:
        for key in [key for key in self._entries if key.startswith(prefix)]:
            if self._live(key, self._clock.monotonic()) is not None:
                yield key

    async def close(self) -> None:
        self._entries.clear()
        self._expiries.clear()

    def _live(self, key: str, now: float) -> bytes | None:
        entry = self._entries.get(key)
        if entry is None or (entry[1] is not None and entry[1] <= now):
            return None
        return entry[0]

    def _put(self, key: str, value: bytes, ttl: float | None) -> None:
        expires = None if ttl is None else self._clock.monotonic() + ttl
        self._entries[key] = (bytes(value), expires)
        if expires is not None:
            heapq.heappush(self._expiries, (expires, key))

    def _sweep(self) -> None:
        now = self._clock.monotonic()
        for _ in range(_SWEEP):
            if not self._expiries or self._expiries[0][0] > now:
                break
            expires, key = heapq.heappop(self._expiries)
            entry = self._entries.get(key)
            if entry is not None and entry[1] == expires:
                del self._entries[key]
        # A key that is rewritten leaves its old expiry behind; without this the heap grows with writes, not with keys.
        if len(self._expiries) > 2 * len(self._entries) + _SWEEP:
            self._expiries = [(e, key) for key, (_, e) in self._entries.items() if e is not None]
            heapq.heapify(self._expiries)
