"""Consumers from outside: each call takes what is ready, and what is not settled in time is given out again."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from ..core.clock import Clock, micros, moment
from ..core.context import Context
from ..core.errors import InvalidInput
from .checking import refuse_reserved
from .contract import Delivery, Outcome, Settled, check
from .keeping.finishing import Answer
from .packing import Cause
from .workers.buffer import Item
from .workers.endings import follow_ups
from .workers.feed import Feed

MOST = 1_000
Ending = Literal["done", "retry", "dead", "stale"]


@dataclass(slots=True)
class _Out:
    """A delivery that is out, until `until` of the monotonic clock."""

    item: Item
    until: float


class Pull:
    """One such consumer in this process."""

    def __init__(self, feed: Feed, clock: Clock, *, seconds: float, counted: Callable[[str, str, int], None]) -> None:
        self.feed = feed
        self.used = clock.monotonic()
        self._clock = clock
        self._seconds = seconds
        self._counted = counted
        self._out: dict[str, _Out] = {}
        self._ready = asyncio.Event()
        feed.ready = self._ready.set

    async def take(self, limit: int, wait: float) -> Sequence[Delivery]:
        """Deliveries that are ready now, or become so within `wait` seconds."""
        if not 1 <= limit <= MOST or not 0 <= wait <= 30:
            raise InvalidInput(f"`limit` must be 1 to {MOST} and `wait` 0 to 30 seconds")
        loop = asyncio.get_running_loop()
        until = loop.time() + wait
        while True:
            self.used = self._clock.monotonic()
            self._ready.clear()
            items = self._next(limit)
            left = until - loop.time()
            if items or left <= 0:
                return [self._delivery(item) for item in items]
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._ready.wait()

    async def settle(self, ctx: Context, outcomes: Sequence[Outcome]) -> Sequence[Settled]:
        """How each delivery ended, once that is durable."""
        for outcome in outcomes:
            check(outcome.publish)
            refuse_reserved(outcome.publish)
            if outcome.publish and outcome.verdict == "retry":
                raise InvalidInput("an event that is to be tried again has no consequences yet")
            if outcome.publish and self.feed.desk.checks is not None:
                await self.feed.desk.checks(ctx, outcome.publish)
        answers = [self._end(ctx, outcome) for outcome in outcomes]
        return [Settled(o.token, await answer) for o, answer in zip(outcomes, answers, strict=True)]

    def extend(self, tokens: Sequence[str], seconds: float) -> Sequence[bool]:
        """Hold leases for longer; whether each was still out."""
        until = self._clock.monotonic() + seconds
        found = [self._out.get(token) for token in tokens]
        for out in found:
            if out is not None:
                out.until = until
        return [out is not None for out in found]

    def sweep(self) -> None:
        """Take back what was not settled in time: that was an attempt."""
        now = self._clock.monotonic()
        for token in [token for token, out in self._out.items() if out.until <= now]:
            item = self._out.pop(token).item
            error = f"no outcome within {self._seconds:g} s"
            self.feed.give_up(item, error, lambda items, answer: self._count(answer), after=0.0)

    @property
    def idle(self) -> bool:
        """Whether nothing is out."""
        return not self._out

    def _next(self, limit: int) -> list[Item]:
        found: list[Item] = []
        while len(found) < limit and not self.feed.frozen:
            items = self.feed.buffer.next(limit - len(found), one_each=True)
            if not items:
                break
            self.feed.begin(items)
            found += items
        return found

    def _delivery(self, item: Item) -> Delivery:
        token = secrets.token_urlsafe(16)
        self._out[token] = _Out(item, self._clock.monotonic() + self._seconds)
        packet = item.packet
        return Delivery(
            event=packet.event,
            author=packet.author,
            consumer=self.feed.consumer.name,
            token=token,
            attempt=item.attempts + 1,
            key=packet.key,
            published=moment(packet.published),
            seconds=self._seconds,
        )

    def _end(self, ctx: Context, outcome: Outcome) -> asyncio.Future[Ending]:
        answered: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        out = self._out.pop(outcome.token, None)
        if out is None:
            answered.set_result("stale")
            return answered
        item = out.item
        cause = Cause(item.packet.correlation, item.packet.id)
        entries = follow_ups(outcome.publish, ctx, micros(self._clock.now()), cause) if outcome.publish else ()

        def told(items: Sequence[Item], answer: Answer) -> None:
            self._count(answer)
            if not answered.done():
                answered.set_result("done" if answer.result == "duplicate" else answer.result)

        if outcome.verdict == "done":
            self.feed.done([item], (), entries, told)
        else:
            self.feed.give_up(
                item, outcome.error[:500], told, after=outcome.after, verdict=outcome.verdict, entries=entries
            )  # fmt: skip
        return answered

    def _count(self, answer: Answer) -> None:
        self._counted(self.feed.consumer.name, answer.result, 1)
