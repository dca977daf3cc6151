"""Counters in a key-value store that several machines share, such as Redis. Each is a key that expires by itself."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Sequence

import msgspec

from ...core.clock import Clock
from ...core.errors import Unavailable
from ...core.storage import KeyValue
from .counters import Counter, Counters, Demand, Grant, share
from .windows import SECOND, Span

LEASE_SECONDS = 60.0
_MOST_SLOTS = 10_000
_PAGE = 250
_CHANCE = secrets.SystemRandom()
_TRIES = 1_000  # each that fails is one of another process that did not
_PAUSE_SECONDS = 0.002
_SPARE_SECONDS = 3_600  # clocks differ, and a key that was gone too early would admit too much
_KEPT = 600 * SECOND  # slices of minutes from before that go: clocks may be so far apart


class KeyValueCounters(Counters):
    """`holder` is this process, by a name that no other one ever has.

    What is taken is added in one compare-and-set of the key that holds all that counts against the limit. So the
    count is at no moment above the limit but for debts, and a process killed anywhere leaves at most what it was given.
    """

    def __init__(self, keyvalue: KeyValue, *, holder: str, clock: Clock) -> None:
        self._keyvalue = keyvalue
        self._holder = holder.encode()
        self._clock = clock
        self._mine: dict[Counter, list[str]] = {}

    async def take(self, demands: Sequence[Demand]) -> Sequence[Grant]:
        return [await self._take(demand) for demand in demands]

    async def give(self, changes: Sequence[tuple[Counter, Span, int]]) -> None:
        for counter, span, amount in changes:
            if counter.window is None:
                await self._leave(counter, amount)
            elif span.beside:
                await self._give_slice(counter, span, amount)
            else:
                await self._keyvalue.increment(_name(counter, span), -amount, ttl=_ttl(span))

    async def levels(self, places: Sequence[tuple[Counter, Span]]) -> Sequence[int]:
        return [await self._level(counter, span) for counter, span in places]

    async def subjects(self, tenant: str, budget: str, since: int, limit: int) -> Sequence[str]:
        return ()

    async def renew(self) -> None:
        for counter, keys in list(self._mine.items()):
            kept = [k for k in keys if await self._keyvalue.swap(k, self._holder, self._holder, ttl=LEASE_SECONDS)]
            # What was taken meanwhile is not among `keys`; what was lost is another process's by now.
            lost = set(keys) - set(kept)
            self._mine[counter] = [k for k in self._mine.get(counter, []) if k not in lost]

    async def forget(self, now: int) -> None:
        return None

    async def _take(self, demand: Demand) -> Grant:
        counter, span = demand.counter, demand.span
        if counter.window is None:
            return await self._occupy(demand)
        name = _name(counter, span)
        for tries in range(_TRIES):
            await _back_off(tries)
            [found] = await self._keyvalue.get([name])
            grant = share(demand, _taken(found, span))
            if not grant.amount:
                return grant
            if await self._keyvalue.swap(name, found, _added(found, span, grant.amount), ttl=_ttl(span)):
                return grant
        raise _contended()

    async def _give_slice(self, counter: Counter, span: Span, amount: int) -> None:
        name = _name(counter, span)
        for tries in range(_TRIES):
            await _back_off(tries)
            [found] = await self._keyvalue.get([name])
            if amount > 0 and span.start not in _slices(found):
                return  # it counts no more
            if await self._keyvalue.swap(name, found, _added(found, span, -amount), ttl=_ttl(span)):
                return
        raise _contended()

    async def _level(self, counter: Counter, span: Span) -> int:
        if counter.window is None:
            return await self._occupied(counter)
        [found] = await self._keyvalue.get([_name(counter, span)])
        return _taken(found, span)

    async def _occupied(self, counter: Counter) -> int:
        # The first free place is taken first, so they are behind one another.
        total = 0
        for first in range(0, _MOST_SLOTS, _PAGE):
            found = await self._keyvalue.get([_key(counter, place) for place in range(first, first + _PAGE)])
            total += (here := sum(value is not None for value in found))
            if not here:
                break
        return total

    async def _occupy(self, demand: Demand) -> Grant:
        """Take places of calls under way: each is a key of its own, which expires with its holder's lease."""
        counter = demand.counter
        keys = [_key(counter, place) for place in range(min(demand.limit, _MOST_SLOTS))]
        found = await self._keyvalue.get(keys)
        free = [key for key, value in zip(keys, found, strict=True) if value is None]
        wanted = share(demand, demand.limit - len(free)).amount
        taken: list[str] = []
        for key in free:
            if len(taken) == wanted:
                break
            if await self._keyvalue.swap(key, None, self._holder, ttl=LEASE_SECONDS):
                taken.append(key)
        if len(taken) < demand.need:
            for key in taken:
                await self._keyvalue.swap(key, self._holder, None)
            return Grant(0, len(free))
        self._mine.setdefault(counter, []).extend(taken)
        return Grant(len(taken), len(free))

    async def _leave(self, counter: Counter, amount: int) -> None:
        for _ in range(amount):
            if not self._mine.get(counter):
                break
            await self._keyvalue.swap(self._mine[counter].pop(), self._holder, None)
        if not self._mine.get(counter):
            self._mine.pop(counter, None)


def _name(counter: Counter, span: Span) -> str:
    # The slices of a minute count together, so they are in one key: two keys cannot be compared and set at once.
    return _key(counter, "slices" if span.beside else span.start)


def _taken(value: bytes | None, span: Span) -> int:
    if not span.beside:
        return int(value or 0)
    slices = _slices(value)
    return sum(slices.get(start, 0) for start in (span.start, *span.beside))


def _added(value: bytes | None, span: Span, amount: int) -> bytes:
    if not span.beside:
        return b"%d" % (int(value or 0) + amount)
    slices = {start: taken for start, taken in _slices(value).items() if start >= span.start - _KEPT}
    slices[span.start] = slices.get(span.start, 0) + amount
    return msgspec.json.encode(slices)


def _slices(value: bytes | None) -> dict[int, int]:
    return {} if value is None else msgspec.json.decode(value, type=dict[int, int])


def _ttl(span: Span) -> float:
    return (span.clears - span.start) / SECOND + _SPARE_SECONDS


async def _back_off(tries: int) -> None:
    """Wait a little before another try, by chance: else those who meet once meet again."""
    if tries:
        await asyncio.sleep(_CHANCE.random() * _PAUSE_SECONDS * min(tries, 10))


def _contended() -> Unavailable:
    return Unavailable("other processes changed the count of a budget each time this one tried to")


def _key(counter: Counter, place: int | str) -> str:
    # A hash, as names may be longer than a key.
    digest = hashlib.blake2b("\0".join(map(str, counter)).encode(), digest_size=16).hexdigest()
    return f"gateway/money/{digest}/{place}"
