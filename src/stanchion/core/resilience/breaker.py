"""A circuit breaker: a part that fails is left alone for a while, then given its traffic back in steps.

    closed --failures--> open --time--> half-open --probes succeed--> restoring 10 % 25 % 50 % --> closed
                          ^                 |                             |
                          `-----failure-----+-----------failures----------'

Every decision is made inside a call, in constant time: there is no background task. One event loop owns a
breaker; it is not safe between threads.
"""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeVar, assert_never

from ..clock import Clock
from ..errors import CircuitOpen, Misconfigured, StanchionError, Unavailable
from .window import Window

T = TypeVar("T")
State = Literal["closed", "open", "half-open", "restoring"]
CALLS, FAILURES, SLOW = range(3)
SHARES = (10, 25, 50)
# A peer's Retry-After is honoured up to here, so that a wrong or hostile one cannot close a route for days.
LONGEST_RETRY_AFTER = 3600.0
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRules:
    """When a breaker opens, and how it recovers. Times are in seconds.

    It opens on `consecutive` failures in a row, or when at least `minimum` calls of the last `window` seconds
    hold `failure_ratio` failures or `slow_ratio` calls of `slow` seconds and more (None: no call is slow).
    It stays open `open_seconds`, times `growth` for each failed recovery, plus up to `jitter` of it, at most
    `open_maximum`. Half-open admits `probes` at a time and needs `probe_successes`. A restoring step ends after
    `step_calls` successes, or after `step_seconds` with one success and no failure; `step_failures` open again.
    """

    failure_ratio: float = 0.5
    minimum: int = 20
    consecutive: int = 5
    window: float = 30.0
    slow: float | None = None
    slow_ratio: float = 0.8
    open_seconds: float = 5.0
    open_maximum: float = 300.0
    growth: float = 2.0
    jitter: float = 0.2
    probes: int = 2
    probe_successes: int = 3
    probe_seconds: float = 60.0
    step_calls: int = 10
    step_seconds: float = 10.0
    step_failures: int = 2

    def __post_init__(self) -> None:
        counts = (self.minimum, self.consecutive, self.probes, self.probe_successes, self.step_calls)
        times = (self.window, self.open_seconds, self.probe_seconds, self.step_seconds, self.growth)
        if min(counts) < 1 or self.step_failures < 1 or min(times) <= 0 or self.jitter < 0:
            raise Misconfigured("a breaker's counts must be at least 1 and its times more than 0")
        if not (0 < self.failure_ratio <= 1 and 0 < self.slow_ratio <= 1):
            raise Misconfigured("a breaker's ratios must be above 0 and at most 1")


@dataclass(frozen=True, slots=True)
class BreakerView:
    """A breaker as the console shows it. `share` is the percentage of calls admitted, 0 while open."""

    name: str
    state: State
    share: int
    calls: int
    failure_ratio: float
    slow_ratio: float
    opened_at: datetime | None
    opens: int
    retry_after: float


class Permit:
    """Leave for one call; give it back once with succeed, fail or release. Later ones are ignored."""

    __slots__ = ("generation", "settled", "started")

    def __init__(self, generation: int, started: float) -> None:
        self.generation = generation
        self.started = started
        self.settled = False


class Breaker:
    """Admits or refuses calls to one part, from what its last calls came to."""

    def __init__(
        self,
        name: str,
        *,
        clock: Clock,
        rules: BreakerRules | None = None,
        on_change: Callable[[BreakerView], None] | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self.rules = rules or BreakerRules()
        self._clock = clock
        self._on_change = on_change
        self._draw = draw
        self._state: State = "closed"
        self._generation = 0
        self._window = Window(self.rules.window, kinds=3, now=clock.monotonic())
        self._in_a_row = 0
        self._until = self._not_before = 0.0
        self._opens = self._failed_recoveries = 0
        self._opened_at: datetime | None = None
        self._step = self._credit = 0
        self._entered = self._last_probe = 0.0
        self._running = self._good = self._bad = 0

    def admit(self) -> Permit:
        """Leave for one call. Raises CircuitOpen with the seconds to wait."""
        now = self._clock.monotonic()
        if self._state != "closed":
            self._admit_carefully(now)
        return Permit(self._generation, now)

    def succeed(self, permit: Permit) -> None:
        """The call gave its answer; it may still count as slow."""
        self._settle(permit, failed=False)

    def fail(self, permit: Permit, error: BaseException | None = None) -> None:
        """The call failed. A `retry_after` of the error is the least time an open breaker stays open."""
        wait = error.retry_after if isinstance(error, StanchionError) else None
        if wait is not None and wait > 0:
            until = self._clock.monotonic() + min(wait, LONGEST_RETRY_AFTER)
            self._not_before = max(self._not_before, until)
        self._settle(permit, failed=True)

    def release(self, permit: Permit) -> None:
        """The call tells nothing about the part: it was cancelled, or the caller was at fault."""
        if not permit.settled:
            permit.settled = True
            if permit.generation == self._generation and self._state == "half-open":
                self._running -= 1

    def is_slow(self, permit: Permit) -> bool:
        """Whether the call has lasted as long as a slow one by now."""
        slow = self.rules.slow
        return slow is not None and self._clock.monotonic() - permit.started >= slow

    async def watch(
        self, permit: Permit, stream: AsyncIterator[T], *, complete: Callable[[T], bool] | None = None
    ) -> AsyncIterator[T]:
        """The stream's items; the permit is settled by how the stream goes.

        Slow is judged at the first item. A stream that raises is a failure, and so is one that ends before an
        item for which `complete` is true. A reader who stops early counts neither way.
        Raises Unavailable for a truncated stream.
        """
        ended = complete is None
        slow: bool | None = None
        try:
            async for item in stream:
                slow = self.is_slow(permit) if slow is None else slow
                ended = ended or (complete is not None and complete(item))
                yield item
            if not ended:
                raise Unavailable(f"{self.name} ended its stream before the answer was complete")
        except Exception as error:
            self.fail(permit, error)
            raise
        else:
            self._settle(permit, failed=False, slow=bool(slow))
        finally:
            self.release(permit)
            if isinstance(stream, AsyncGenerator):
                # Left to the garbage collector it would hold its connection for who knows how long.
                await stream.aclose()

    def snapshot(self) -> BreakerView:
        """The present state."""
        now = self._clock.monotonic()
        self._window.roll(now)
        calls, failures, slow = self._window.totals
        return BreakerView(
            name=self.name,
            state=self._state,
            share=self._share(),
            calls=calls,
            failure_ratio=failures / calls if calls else 0.0,
            slow_ratio=slow / calls if calls else 0.0,
            opened_at=self._opened_at,
            opens=self._opens,
            retry_after=max(0.0, self._opens_until() - now) if self._state == "open" else 0.0,
        )

    def _share(self) -> int:
        match self._state:
            case "closed":
                return 100
            case "restoring":
                return SHARES[self._step]
            case "open" | "half-open":
                return 0
            case _:
                assert_never(self._state)

    def _opens_until(self) -> float:
        return max(self._until, self._not_before)

    def _admit_carefully(self, now: float) -> None:
        if self._state == "open":
            if now < self._opens_until():
                raise self._refusal(self._opens_until() - now)
            self._enter("half-open", now)
        if self._state == "half-open":
            self._admit_probe(now)
        elif self._state == "restoring":
            self._admit_share(now)

    def _admit_probe(self, now: float) -> None:
        if self._running >= self.rules.probes:
            # A probe that never comes back must not hold the breaker half-open for ever.
            if now - self._last_probe >= self.rules.probe_seconds:
                self._open(now)
                raise self._refusal(self._opens_until() - now)
            raise self._refusal(1.0)
        self._running += 1
        self._last_probe = now

    def _admit_share(self, now: float) -> None:
        # Counted, not drawn: of every hundred calls in a row exactly `share` are admitted.
        self._credit += SHARES[self._step]
        if self._credit < 100:
            raise self._refusal(1.0)
        self._credit -= 100

    def _refusal(self, wait: float) -> CircuitOpen:
        return CircuitOpen(f"{self.name} is {self._state} after failures", retry_after=wait)

    def _settle(self, permit: Permit, *, failed: bool, slow: bool | None = None) -> None:
        if permit.settled:
            return
        permit.settled = True
        # What began before the last change of state says nothing about the part as it is now.
        if permit.generation != self._generation:
            return
        now = self._clock.monotonic()
        if slow is None:
            slow = self.rules.slow is not None and now - permit.started >= self.rules.slow
        if self._state == "closed" and not failed and not slow:
            self._window.add(now, CALLS)
            self._in_a_row = 0
        elif self._state == "closed":
            self._count(now, failed, slow)
        elif self._state == "half-open":
            self._running -= 1
            self._judge_probe(now, good=not (failed or slow))
        elif self._state == "restoring":
            self._judge_step(now, good=not (failed or slow))

    def _count(self, now: float, failed: bool, slow: bool) -> None:
        window, rules = self._window, self.rules
        window.add(now, CALLS)
        if slow:
            window.add(now, SLOW)
        if failed:
            window.add(now, FAILURES)
            self._in_a_row += 1
        else:
            self._in_a_row = 0
        calls, failures, slows = window.totals
        enough = calls >= rules.minimum
        ratio = enough and (failures >= rules.failure_ratio * calls or slows >= rules.slow_ratio * calls)
        if ratio or self._in_a_row >= rules.consecutive:
            self._open(now)

    def _judge_probe(self, now: float, *, good: bool) -> None:
        if not good:
            self._open(now)
            return
        self._good += 1
        if self._good >= self.rules.probe_successes:
            self._step = 0
            self._enter("restoring", now)

    def _judge_step(self, now: float, *, good: bool) -> None:
        self._good += good
        self._bad += not good
        if self._bad >= self.rules.step_failures:
            self._open(now)
            return
        waited = now - self._entered >= self.rules.step_seconds and self._good and not self._bad
        if self._good < self.rules.step_calls and not waited:
            return
        if self._step + 1 < len(SHARES):
            self._step += 1
            self._enter("restoring", now)
        else:
            self._failed_recoveries = 0
            self._enter("closed", now)

    def _open(self, now: float) -> None:
        rules = self.rules
        seconds = rules.open_seconds * rules.growth ** min(self._failed_recoveries, 32)
        self._until = now + min(rules.open_maximum, seconds * (1 + rules.jitter * self._draw()))
        self._failed_recoveries += 1
        self._opens += 1
        self._opened_at = self._clock.now()
        self._enter("open", now)

    def _enter(self, state: State, now: float) -> None:
        # Calls admitted at a smaller share still tell about the same recovery: only a new state is a new generation.
        if state != self._state:
            self._generation += 1
        self._state = state
        self._entered = now
        self._running = self._good = self._bad = self._in_a_row = 0
        self._credit = 100 - SHARES[self._step]
        if state == "closed":
            self._window.clear(now)
        if self._on_change is not None:
            try:
                self._on_change(self.snapshot())
            except Exception:
                # A listener's fault must not fail the call that happened to change the state.
                log.exception("a listener of breaker %s failed", self.name)
