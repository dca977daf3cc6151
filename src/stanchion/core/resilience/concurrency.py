"""How many calls may run at once: fixed, or found by itself from how long they take.

The adaptive limit grows by one for each limit's worth of quick calls and shrinks by a tenth when calls are slow or
fail (additive increase, multiplicative decrease; Chiu and Jain, 1989).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ..clock import Clock
from ..context import Context
from ..errors import Misconfigured, Throttled
from .deadline import bounded
from .ladder import CALLERS_FAULT


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptive:
    """A limit between `minimum` and `maximum` that keeps calls under `latency` seconds."""

    latency: float
    minimum: int = 1
    maximum: int = 1000
    initial: int = 20
    backoff: float = 0.9

    def __post_init__(self) -> None:
        if not (1 <= self.minimum <= self.initial <= self.maximum and self.latency > 0 and 0 < self.backoff < 1):
            raise Misconfigured("an adaptive limit needs 1 <= minimum <= initial <= maximum, latency > 0, backoff < 1")


class ConcurrencyLimiter:
    """Lets a limited number of calls run; `queue` more wait in the order they came, the rest are shed at once."""

    def __init__(self, limit: int | Adaptive, *, clock: Clock, queue: int = 0) -> None:
        self._adaptive = limit if isinstance(limit, Adaptive) else None
        self._limit = float(limit.initial if isinstance(limit, Adaptive) else limit)
        if self._limit < 1 or queue < 0:
            raise Misconfigured("a concurrency limit must be at least 1 and its queue at least 0")
        self._clock = clock
        self._queue = queue
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._mean = 0.0
        self._shrunk_at = clock.monotonic()
        self.running = 0

    @property
    def limit(self) -> int:
        """How many calls may run at once now."""
        return int(self._limit)

    @property
    def waiting(self) -> int:
        """How many calls wait for their turn."""
        return len(self._waiting)

    @asynccontextmanager
    async def slot(self, ctx: Context) -> AsyncIterator[None]:
        """Run the block as one of the limited calls.

        Raises Throttled, with an estimate of when a place is free, if the queue is full; DeadlineExceeded if the
        caller's time runs out in the queue.
        """
        if self.running < self.limit and not self._waiting:
            self.running += 1
        else:
            await self._wait(ctx)
        started = self._clock.monotonic()
        ok: bool | None = False
        try:
            yield
            ok = True
        except CALLERS_FAULT:
            ok = True
            raise
        except asyncio.CancelledError:
            ok = None
            raise
        finally:
            if ok is not None:
                self._learn(self._clock.monotonic() - started, ok=ok)
            self.running -= 1
            self._admit()

    async def _wait(self, ctx: Context) -> None:
        if len(self._waiting) >= self._queue:
            wait = max(0.1, self._mean * (1 + len(self._waiting) / self.limit))
            raise Throttled(f"{self.running} calls run and {len(self._waiting)} wait", retry_after=wait)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with bounded(ctx, clock=self._clock):
                await turn
        except BaseException:
            # Given up: either the place in the queue goes, or the place just handed over goes to the next.
            if turn.done() and not turn.cancelled():
                self.running -= 1
                self._admit()
            elif turn in self._waiting:
                self._waiting.remove(turn)
            raise

    def _admit(self) -> None:
        while self._waiting and self.running < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self.running += 1
                turn.set_result(None)

    def _learn(self, seconds: float, *, ok: bool) -> None:
        self._mean += 0.1 * (seconds - self._mean)
        rules = self._adaptive
        if rules is None:
            return
        now = self._clock.monotonic()
        if not ok or seconds > rules.latency:
            # Once per latency: the calls that were running together all tell of the same overload.
            if now - self._shrunk_at >= rules.latency:
                self._shrunk_at = now
                self._limit = max(float(rules.minimum), self._limit * rules.backoff)
        elif self.running * 2 > self._limit:
            # An unused limit is no proof that more would be borne.
            self._limit = min(float(rules.maximum), self._limit + 1 / self._limit)
