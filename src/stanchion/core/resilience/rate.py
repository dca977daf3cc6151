"""Rate limits by the generic cell rate algorithm: one number for each key and rate, and an exact time to wait.

Source: ITU-T I.371, virtual scheduling. Numbers are whole nanoseconds, so that no rounding lets a call more through.
"""

from __future__ import annotations

import asyncio
import hashlib
import struct
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..clock import Clock
from ..errors import InvalidInput, Misconfigured, Throttled, Unavailable
from ..storage.contract import KeyValue

NANO = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """`limit` units each `seconds`, of which `burst` (None: all of them) may come at one moment.

    In any stretch of t seconds at most `burst` + `limit` * t / `seconds` units pass.
    """

    limit: int
    seconds: float
    burst: int | None = None

    def __post_init__(self) -> None:
        if self.limit < 1 or self.seconds <= 0 or (self.burst is not None and self.burst < 1):
            raise Misconfigured("a rate needs a limit and a burst of at least 1 and a time of more than 0 seconds")


class _Cells(NamedTuple):
    spacing: tuple[int, ...]
    depth: tuple[int, ...]


class _Verdict(NamedTuple):
    """The new theoretical arrival times, and the nanoseconds to wait (0: admitted)."""

    arrivals: tuple[int, ...]
    wait: int


def _cells(rates: Sequence[Rate]) -> _Cells:
    if not rates:
        raise Misconfigured("a rate limiter needs at least one rate")
    spacing = tuple(-int(-rate.seconds * NANO // rate.limit) for rate in rates)
    return _Cells(spacing, tuple(s * (r.burst or r.limit) for s, r in zip(spacing, rates, strict=True)))


def _judge(cells: _Cells, arrivals: tuple[int, ...] | None, now: int, amount: int) -> _Verdict:
    later, wait = [], 0
    for index, spacing in enumerate(cells.spacing):
        arrival = (max(arrivals[index], now) if arrivals else now) + amount * spacing
        later.append(arrival)
        wait = max(wait, arrival - cells.depth[index] - now)
    return _Verdict(tuple(later), wait)


def _check(cells: _Cells, amount: int) -> None:
    most = min(depth // spacing for spacing, depth in zip(*cells, strict=True))
    if not 0 < amount <= most:
        raise InvalidInput(f"{amount} units at once can never pass: the limit lets 1 to {most} through")


def _refusal(wait: int) -> Throttled:
    # Rounded up to a microsecond: who waits exactly this long is admitted.
    return Throttled("the rate limit is reached", retry_after=-(-wait // 1000) / 1e6)


class RateLimiter:
    """Holds several rates at once for each key, in this process. At most `keys` busy keys are remembered.

    Beyond that the key unused for longest starts anew.
    """

    def __init__(self, *rates: Rate, clock: Clock, keys: int = 100_000) -> None:
        self._cells = _cells(rates)
        self._clock = clock
        self._keys = keys
        self._arrivals: OrderedDict[str, tuple[int, ...]] = OrderedDict()

    async def take(self, key: str, amount: int = 1) -> None:
        """Let `amount` units of `key` pass now.

        Raises Throttled with the seconds after which they would pass; InvalidInput if they never could.
        """
        self.take_now(key, amount)

    def take_now(self, key: str, amount: int = 1) -> None:
        """The same, without waiting for anything."""
        _check(self._cells, amount)
        now = int(self._clock.monotonic() * NANO)
        verdict = _judge(self._cells, self._arrivals.get(key), now, amount)
        if verdict.wait > 0:
            raise _refusal(verdict.wait)
        self._arrivals[key] = verdict.arrivals
        self._arrivals.move_to_end(key)
        # An arrival time in the past is the same as none: idle keys at the old end cost nothing to forget.
        while self._arrivals and (len(self._arrivals) > self._keys or self._idle(now)):
            self._arrivals.popitem(last=False)

    def _idle(self, now: int) -> bool:
        return max(self._arrivals[next(iter(self._arrivals))]) <= now


class SharedRateLimiter:
    """The same limits held by all processes together, over a key-value store. Uses wall time.

    While the store is unavailable each process holds the limits by itself: a lost store must not stop all traffic.
    """

    # Losing this many races in a row means the key is far busier than any limit would admit.
    RACES = 32

    def __init__(self, *rates: Rate, store: KeyValue, clock: Clock, prefix: str = "rate") -> None:
        self._cells = _cells(rates)
        self._store = store
        self._clock = clock
        self._alone = RateLimiter(*rates, clock=clock)
        # Other rates under the same prefix are other numbers: a changed limit starts anew.
        self._prefix = f"{prefix}:{hashlib.blake2b(repr(self._cells).encode(), digest_size=6).hexdigest()}:"
        self._format = struct.Struct(f"<{len(rates)}q")
        self._turns = [asyncio.Lock() for _ in range(64)]

    async def take(self, key: str, amount: int = 1) -> None:
        """As RateLimiter.take; a refusal changes nothing in the store."""
        _check(self._cells, amount)
        digest = hashlib.blake2b(key.encode(), digest_size=16)
        name = self._prefix + digest.hexdigest()
        try:
            # Calls of one process take turns, so that only other processes can win a race.
            async with self._turns[digest.digest()[0] % len(self._turns)]:
                await self._take(name, amount)
        except Unavailable:
            self._alone.take_now(key, amount)

    async def _take(self, name: str, amount: int) -> None:
        for _ in range(self.RACES):
            [old] = await self._store.get([name])
            now = int(self._clock.now().timestamp() * NANO)
            known = None if old is None else self._format.unpack(old)
            verdict = _judge(self._cells, known, now, amount)
            if verdict.wait > 0:
                raise _refusal(verdict.wait)
            ttl = (max(verdict.arrivals) - now) / NANO + 1.0
            if await self._store.swap(name, old, self._format.pack(*verdict.arrivals), ttl=ttl):
                return
        raise _refusal(max(self._cells.spacing))
