"""Runs a declared handler over its feed: as many calls at once as it bears."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from ...core.clock import micros
from ...core.resilience.concurrency import Adaptive, ConcurrencyLimiter
from ...core.tasks import end_tasks
from .. import causes
from ..contract import Commit, HandlerSpec
from ..keeping.finishing import Answer
from ..packing import Cause
from .buffer import Item
from .calls import Call, context_of
from .endings import follow_ups
from .feed import Feed
from .tracing import handling

_log = logging.getLogger(__name__)
Counts = Callable[[str, str, int], None]


class Runner:
    """One handler in this process. `counted` is told the consumer, the result and how many events."""

    def __init__(self, spec: HandlerSpec, feed: Feed, threads: Executor, *, counted: Counts) -> None:
        self.spec = spec
        self.feed = feed
        self._call = Call(spec, threads)
        self._counted = counted
        clock = feed.desk.clock
        first = min(20, spec.concurrency)
        adaptive = Adaptive(latency=spec.seconds / 2, maximum=spec.concurrency, initial=first)
        self._limiter = ConcurrencyLimiter(adaptive, clock=clock)
        self._singly = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False
        self._woken = False
        feed.ready = self.wake

    @property
    def limit(self) -> int:
        """How many calls may run at once now."""
        return 1 if self.feed.careful else self._limiter.limit

    def wake(self) -> None:
        """Begin what may begin, once the loop has done what is due: a commit ends hundreds of handlings at once."""
        if not self._woken:
            self._woken = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._woken = False
        if self._stopped or self.feed.frozen:
            return
        careful = self.feed.careful
        while len(self._tasks) < (1 if careful else self._limiter.limit):
            items = self.feed.buffer.next(1 if careful or self._singly else self.spec.batch)
            if not items:
                return
            if self._singly:
                self._singly -= 1
            self.feed.begin(items)
            task = asyncio.create_task(self._run(items))
            self._tasks.add(task)
            task.add_done_callback(self._over)

    async def stop(self, *, patience: float) -> None:
        """Begin nothing more; give what runs so many seconds, then leave it to whoever comes next."""
        self._stopped = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=patience)
        await end_tasks(*self._tasks)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("the handler %s was lost", self.spec.name, exc_info=error)
        self.wake()

    async def _run(self, items: Sequence[Item]) -> None:
        feed, first = self.feed, items[0]
        clock = feed.desk.clock
        ctx = context_of(first, clock, seconds=self.spec.seconds, scopes=self.spec.scopes)
        cause = Cause(first.packet.correlation, first.packet.id)
        commit = Commit()
        causes.begin(ctx, cause)
        try:
            await feed.suspect(items)
            with handling(feed.desk.spans, ctx, self.spec.name, items) as inner:
                # There is always room: no more tasks are begun than the limit lets run.
                async with self._limiter.slot(inner):
                    await self._call(inner, items, commit)
            if commit.events and feed.desk.checks is not None:
                await feed.desk.checks(inner, commit.events)
        except Exception as error:
            self._failed(items, _late(error, self.spec))
            return
        finally:
            causes.end(ctx)
        entries = follow_ups(commit.events, inner, micros(clock.now()), cause) if commit.events else ()
        feed.done(items, commit.works, entries, self._told)

    def _failed(self, items: Sequence[Item], error: Exception) -> None:
        if len(items) > 1:
            # Which of them it was is found by giving them out one by one.
            self._singly += len(items)
            self._counted(self.spec.name, "split", len(items))
            self.feed.put_back(items)
        else:
            self.feed.failed(items[0], error, self._told)

    def _told(self, items: Sequence[Item], answer: Answer) -> None:
        if len(items) > 1 and (answer.error is not None or answer.result == "duplicate"):
            self._singly += len(items)
        self._counted(self.spec.name, answer.result, len(items))


def _late(error: Exception, spec: HandlerSpec) -> Exception:
    return TimeoutError(f"it did not end within {spec.seconds:g} s") if type(error) is TimeoutError else error
