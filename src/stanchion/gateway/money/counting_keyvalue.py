"""Counters in a key-value store that several machines share, such as Redis. Each is a key that expires by itself."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from ...core.clock import Clock
from ...core.storage import KeyValue
from .counters import Counter, Counters, Demand, Grant, share
from .windows import SECOND, Span

LEASE_SECONDS = 60.0
_MOST_SLOTS = 10_000
_PAGE = 250
_SPARE_SECONDS = 3_600  # clocks differ, and a key that was gone too early would admit too much


class KeyValueCounters(Counters):
    """`holder` is this process, by a name that no other one ever has.

    An increment comes before its check: of two processes at the same moment one sees both. The count may be too high
    for a moment and so refuse a third; it is never too low.
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
            else:
                await self._add(counter, span, -amount)

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
        asked = demand.need + demand.want
        now = await self._add(counter, span, asked)
        beside = await self._beside(counter, span)
        grant = share(demand, now - asked + beside)
        if grant.amount < asked:
            await self._add(counter, span, grant.amount - asked)
        return grant

    async def _add(self, counter: Counter, span: Span, amount: int) -> int:
        ttl = (span.clears - span.start) / SECOND + _SPARE_SECONDS
        return await self._keyvalue.increment(_key(counter, span.start), amount, ttl=ttl)

    async def _beside(self, counter: Counter, span: Span) -> int:
        if not span.beside:
            return 0
        found = await self._keyvalue.get([_key(counter, start) for start in span.beside])
        return sum(int(value) for value in found if value is not None)

    async def _level(self, counter: Counter, span: Span) -> int:
        if counter.window is None:
            return await self._occupied(counter)
        [now] = await self._keyvalue.get([_key(counter, span.start)])
        return int(now or 0) + await self._beside(counter, span)

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


def _key(counter: Counter, place: int) -> str:
    # A hash, as names may be longer than a key.
    digest = hashlib.blake2b("\0".join(map(str, counter)).encode(), digest_size=16).hexdigest()
    return f"gateway/money/{digest}/{place}"
