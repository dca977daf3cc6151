"""An exact cache in this process: time to live, least recently used, one computation per key at a time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeVar

from ..clock import Clock
from ..errors import BudgetExceeded, DeadlineExceeded, Misconfigured
from .shared import SecondLevel

V = TypeVar("V")
How = Literal["hit", "miss", "shared"]
# One caller's time and money say nothing about the others': they try for themselves.
PERSONAL = (DeadlineExceeded, BudgetExceeded)


class Found(NamedTuple, Generic[V]):
    """The value, and whether it was there (hit), computed now (miss) or by a call already under way (shared)."""

    value: V
    how: How


@dataclass(frozen=True, slots=True)
class CacheStats:
    """Counts since the start; `entries` and `bytes` are what is held now."""

    hits: int
    misses: int
    shared: int
    evictions: int
    entries: int
    bytes: int


class _Entry(NamedTuple, Generic[V]):
    value: V
    expires: float
    size: int
    tags: frozenset[str]


class _Flight(Generic[V]):
    """One computation and those who wait for it. A waiter is given the answer, or None: it must compute itself."""

    __slots__ = ("tags", "waiting")

    def __init__(self, tags: frozenset[str]) -> None:
        self.tags = tags
        self.waiting: deque[asyncio.Future[Found[V] | None]] = deque()


class Cache(Generic[V]):
    """Values by key, for one event loop.

    `ttl` is in seconds. With `max_bytes`, `size` tells the bytes of a value; a value larger than all of it is not
    kept. `second` is a level shared between processes.
    """

    def __init__(
        self,
        *,
        max_entries: int,
        ttl: float,
        clock: Clock,
        max_bytes: int | None = None,
        size: Callable[[V], int] | None = None,
        second: SecondLevel[V] | None = None,
    ) -> None:
        if max_entries < 1 or ttl <= 0 or (max_bytes is None) != (size is None):
            raise Misconfigured("a cache needs max_entries >= 1, ttl > 0, and `size` exactly if it has `max_bytes`")
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._size = size
        self._ttl = ttl
        self._clock = clock
        self._second = second
        self._entries: OrderedDict[str, _Entry[V]] = OrderedDict()
        self._tagged: dict[str, set[str]] = {}
        self._flights: dict[str, _Flight[V]] = {}
        self._bytes = self._hits = self._misses = self._shared = self._evictions = 0

    async def get(
        self, key: str, compute: Callable[[], Awaitable[V]], *, tags: Iterable[str] = (), ttl: float | None = None
    ) -> Found[V]:
        """The value under the key, computed if it is absent; `ttl` may shorten the cache's own.

        Concurrent callers of one key share one computation, and its error; an error is not kept. If the computing
        caller is cancelled, or only its own deadline or budget ends it, the next waiting caller computes.
        `compute` must not ask for the same key.
        """
        entry = self._entries.get(key)
        if entry is not None:
            if entry.expires > self._clock.monotonic():
                self._hits += 1
                self._entries.move_to_end(key)
                return Found(entry.value, "hit")
            self._remove(key)
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight(frozenset(tags))
        else:
            answer = await self._join(key, flight)
            if answer is not None:
                self._shared += 1
                return answer
        return await self._lead(key, flight, compute, self._ttl if ttl is None else min(ttl, self._ttl))

    def peek(self, key: str) -> Found[V] | None:
        """The value under the key if this process holds it, alive; counted as a hit. Nothing is computed or asked."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires <= self._clock.monotonic():
            self._remove(key)
            return None
        self._hits += 1
        self._entries.move_to_end(key)
        return Found(entry.value, "hit")

    def clear(self) -> None:
        """Drop every value of this process, and the results of computations under way."""
        self._entries.clear()
        self._tagged.clear()
        self._flights.clear()
        self._bytes = 0

    def put(self, key: str, value: V, *, tags: Iterable[str] = (), ttl: float | None = None) -> None:
        """Store a value in this process, replacing what is there or being computed."""
        self._flights.pop(key, None)
        self._store(key, value, frozenset(tags), self._ttl if ttl is None else min(ttl, self._ttl))

    async def forget(self, key: str) -> None:
        """Drop the value under the key, and the result of a computation under way."""
        self._flights.pop(key, None)
        if key in self._entries:
            self._remove(key)
        if self._second is not None:
            await self._second.forget(key)

    async def invalidate(self, tag: str) -> int:
        """Drop every value with the tag, and the results of computations under way; how many values went here.

        Other processes lose it in the second level at once, in their own first level after its ttl.
        Raises Unavailable if the second level cannot be told.
        """
        keys = list(self._tagged.get(tag, ()))
        for key in keys:
            self._remove(key)
        # Those who wait get the result they asked for; it is not kept, and later callers compute anew.
        for key in [key for key, flight in self._flights.items() if tag in flight.tags]:
            del self._flights[key]
        if self._second is not None:
            await self._second.invalidate(tag, ttl=self._ttl)
        return len(keys)

    def stats(self) -> CacheStats:
        """The figures so far."""
        return CacheStats(self._hits, self._misses, self._shared, self._evictions, len(self._entries), self._bytes)

    async def _join(self, key: str, flight: _Flight[V]) -> Found[V] | None:
        turn: asyncio.Future[Found[V] | None] = asyncio.get_running_loop().create_future()
        flight.waiting.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            # Cancelled just after being told to compute: somebody else must, or all would wait for ever.
            if not turn.cancelled() and turn.exception() is None and turn.result() is None:
                self._hand_over(key, flight)
            raise

    async def _lead(self, key: str, flight: _Flight[V], compute: Callable[[], Awaitable[V]], ttl: float) -> Found[V]:
        try:
            found = await self._compute(key, flight, compute, ttl)
        except PERSONAL:
            self._hand_over(key, flight)
            raise
        except Exception as error:
            self._land(key, flight)
            for turn in flight.waiting:
                if not turn.done():
                    turn.set_exception(error)
            raise
        except BaseException:
            self._hand_over(key, flight)
            raise
        self._land(key, flight)
        for turn in flight.waiting:
            if not turn.done():
                turn.set_result(Found(found.value, "shared"))
        return found

    async def _compute(self, key: str, flight: _Flight[V], compute: Callable[[], Awaitable[V]], ttl: float) -> Found[V]:
        second = self._second
        if second is None:
            self._misses += 1
            value = await compute()
            if self._flights.get(key) is flight:
                self._store(key, value, flight.tags, ttl)
            return Found(value, "miss")
        known = await second.read(key, flight.tags)
        if known.held is not None:
            self._hits += 1
            if self._flights.get(key) is flight:
                self._store(key, known.held.value, flight.tags, min(ttl, known.held.left))
            return Found(known.held.value, "hit")
        self._misses += 1
        value = await compute()
        if self._flights.get(key) is flight:
            self._store(key, value, flight.tags, ttl)
            await second.write(key, value, known.marks, ttl)
        return Found(value, "miss")

    def _land(self, key: str, flight: _Flight[V]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    def _hand_over(self, key: str, flight: _Flight[V]) -> None:
        while flight.waiting:
            turn = flight.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._land(key, flight)

    def _store(self, key: str, value: V, tags: frozenset[str], ttl: float) -> None:
        if key in self._entries:
            self._remove(key)
        size = 0 if self._size is None else self._size(value)
        if self._max_bytes is not None and size > self._max_bytes:
            return
        self._entries[key] = _Entry(value, self._clock.monotonic() + ttl, size, tags)
        self._bytes += size
        for tag in tags:
            self._tagged.setdefault(tag, set()).add(key)
        while len(self._entries) > self._max_entries or self._bytes > (self._max_bytes or self._bytes):
            self._remove(next(iter(self._entries)))
            self._evictions += 1

    def _remove(self, key: str) -> None:
        entry = self._entries.pop(key)
        self._bytes -= entry.size
        for tag in entry.tags:
            keys = self._tagged[tag]
            keys.discard(key)
            if not keys:
                del self._tagged[tag]
