"""Retries that cannot become a storm: full jitter, the caller's deadline, and a budget shared by all calls.

Full jitter: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015. Budget: "Handling Overload",
Site Reliability Engineering, O'Reilly 2016.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from ..clock import Clock
from ..context import Context
from ..errors import BudgetExceeded, CircuitOpen, Misconfigured, StanchionError, Throttled, Unavailable
from .window import Window

T = TypeVar("T")
CALLS, RETRIES = range(2)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRules:
    """At most `attempts` calls in all; waits are drawn below `base` x 2^n seconds, at most `maximum`.

    A `retry_after` beyond `maximum` is not waited for. `circuit_open` also retries calls that a breaker refused.
    """

    attempts: int = 3
    base: float = 0.1
    maximum: float = 5.0
    circuit_open: bool = False

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.base <= 0 or self.maximum <= 0:
            raise Misconfigured("retries need at least 1 attempt and times of more than 0 seconds")


class RetryBudget:
    """Lets retries be at most `ratio` of the calls of the last `window` seconds, plus `minimum`.

    One budget serves all calls to one part, so that a failing part sees little more traffic, not a multiple.
    """

    def __init__(self, *, clock: Clock, ratio: float = 0.1, minimum: int = 10, window: float = 10.0) -> None:
        self._clock = clock
        self._ratio = ratio
        self._minimum = minimum
        self._window = Window(window, kinds=2, now=clock.monotonic())

    def called(self) -> None:
        """Count a first attempt."""
        self._window.add(self._clock.monotonic(), CALLS)

    def take(self) -> bool:
        """Whether one more retry is within the budget; if so it is counted."""
        now = self._clock.monotonic()
        self._window.roll(now)
        calls, retries = self._window.totals
        if retries + 1 > self._minimum + self._ratio * calls:
            return False
        self._window.add(now, RETRIES)
        return True


class Retry:
    """Repeats calls that failed for a passing reason."""

    def __init__(
        self,
        *,
        clock: Clock,
        budget: RetryBudget,
        rules: RetryRules | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.rules = rules or RetryRules()
        self._clock = clock
        self._budget = budget
        self._sleep = sleep
        self._draw = draw

    async def run(self, ctx: Context, call: Callable[[], Awaitable[T]], *, idempotent: bool) -> T:
        """What `call` returns.

        Repeats after Unavailable and Throttled (not BudgetExceeded) if `idempotent`, while attempts, the budget
        and the caller's deadline allow the wait. Raises the last error otherwise.
        """
        self._budget.called()
        attempt = 0
        while True:
            try:
                return await call()
            except (Unavailable, Throttled) as error:
                attempt += 1
                if not idempotent or attempt >= self.rules.attempts or not self._worth(error):
                    raise
                wait = self._wait(attempt, error)
                late = ctx.deadline is not None and self._clock.monotonic() + wait >= ctx.deadline
                if wait > self.rules.maximum or late or not self._budget.take():
                    raise
            await self._sleep(wait)

    def _worth(self, error: StanchionError) -> bool:
        if isinstance(error, CircuitOpen):
            return self.rules.circuit_open
        return not isinstance(error, BudgetExceeded)

    def _wait(self, attempt: int, error: StanchionError) -> float:
        drawn = self._draw() * min(self.rules.maximum, self.rules.base * 2.0 ** min(attempt - 1, 32))
        return max(drawn, error.retry_after or 0.0)
