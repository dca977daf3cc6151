"""An adaptive batcher in front of a rung: a run takes whatever waits when it begins.

While the model runs, calls gather; when it is free, they go together. An idle model answers one call at once, a busy
one in batches as large as the load makes them, and no timer is needed (compare Clipper, Crankshaw et al., NSDI 2017,
whose batches wait for one).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from ...core.clock import Clock
from ...core.context import Context
from ...core.errors import StanchionError, Unavailable
from ...core.resilience import Decline
from ...core.values import Json
from ..contract import Batch, BatchStatus, Priority
from .waiting import DUE, Piece, Queue, Waiting

Call = Callable[[Context, Sequence[Any]], Awaitable[Sequence[Mapping[str, Json]]]]
_TRIES = 3
_WEIGHT = 0.2


class Ranked(list[Any]):
    """Instances of a call with the class in which they queue."""

    priority: Priority = "normal"


class Shed(Decline):
    """The call would wait too long: `retry_after` seconds from now it would not."""

    def __init__(self, detail: str, retry_after: float) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class _Run:
    """A run under way, and the moment since when it could run."""

    __slots__ = ("began",)

    def __init__(self, began: float) -> None:
        self.began = began


class Batcher:
    """`call` in batches. Used on one event loop; a call that is cancelled leaves the queue.

    An exception that is not of our tree may be one instance's fault: the calls of that run are then tried each by
    itself, so that the others get their answers.

    `ahead` says that `call` keeps the number of runs at once itself. While as much waits as one run takes, one more
    than `workers` is then handed over, so that the engine has it at hand when a run ends: it idles for no way over
    the event loop, and no run is smaller for it.
    """

    def __init__(self, call: Call, options: Batch, *, clock: Clock, ahead: bool = False) -> None:
        self._call = call
        self._options = options
        self._clock = clock
        self._queue = Queue()
        self._workers: set[asyncio.Task[None]] = set()
        self._most = options.workers + ahead
        self._working = 0
        # In the order in which they were handed over; those past `workers` wait for the end of another one.
        self._under_way: list[_Run] = []
        self._full = asyncio.Event()
        self._row_seconds = self._run_seconds = 0.0
        self._runs = self._instances = self._shed = 0

    def status(self) -> BatchStatus:
        """The figures so far."""
        return BatchStatus(self._queue.instances, self._runs, self._instances, self._shed)

    async def __call__(self, ctx: Context, items: Sequence[Any]) -> Sequence[Mapping[str, Json]]:
        """The answers to these instances, in order. Raises Shed, and what the batched call raises."""
        priority = items.priority if isinstance(items, Ranked) else "normal"
        now = self._clock.monotonic()
        self._admit(ctx, len(items), now)
        call = Waiting(ctx, items, now, now + DUE[priority])
        self._queue.add(call, priority)
        if self._queue.instances >= self._options.size:
            self._full.set()
        if self._takes(self._working + 1):
            # Counted here and given back by the worker itself: a task is known to be done only a turn later.
            self._working += 1
            task = asyncio.create_task(self._work(), name="serving-batch")
            self._workers.add(task)
            task.add_done_callback(self._workers.discard)
        try:
            return await call.done
        except asyncio.CancelledError:
            self._queue.remove(call)
            raise

    def _admit(self, ctx: Context, count: int, now: float) -> None:
        """Refuse a call that would wait too long, now rather than after it has waited."""
        options, ahead = self._options, self._queue.instances
        if not ahead:
            return
        wait = self._expected(ahead)
        if ahead + count > options.waiting or wait > options.most_wait_ms / 1000:
            self._shed += count
            raise Shed(f"{ahead} instances wait already", max(wait, self._run_seconds))
        if ctx.deadline is not None and now + wait >= ctx.deadline:
            self._shed += count
            raise Shed("the caller's time would end in the queue", wait)

    def _expected(self, ahead: int) -> float:
        """Seconds until so many instances have been taken, by what the last runs took."""
        options = self._options
        runs = -(-ahead // options.size)
        return (runs * self._run_seconds + ahead * self._row_seconds) / options.workers

    async def _work(self) -> None:
        try:
            while self._queue.instances and self._takes(self._working):
                if self._options.wait_ms > 0 and self._queue.instances < self._options.size:
                    await self._gather()
                pieces = [piece for piece in self._queue.take(self._options.size) if not piece.call.done.done()]
                if pieces:
                    await self._run(pieces)
        finally:
            self._working -= 1

    def _takes(self, working: int) -> bool:
        """Whether the last of so many workers may begin a run now."""
        ahead = working > self._options.workers
        return working <= self._most and (not ahead or self._queue.instances >= self._options.size)

    async def _gather(self) -> None:
        self._full.clear()
        try:
            async with asyncio.timeout(self._options.wait_ms / 1000):
                await self._full.wait()
        except TimeoutError:
            return

    async def _run(self, pieces: Sequence[Piece]) -> None:
        items = pieces[0].items if len(pieces) == 1 else [item for piece in pieces for item in piece.items]
        try:
            answers, seconds = await self._timed(_patient(pieces), items)
            if len(answers) != len(items):
                raise Unavailable("the batched model did not give one answer for each instance")
        except asyncio.CancelledError:
            for piece in pieces:
                piece.call.done.cancel()
            raise
        except (StanchionError, Decline) as error:
            await self._failed(pieces, error, apart=isinstance(error, Decline))
            return
        # Whatever an engine or a declared function raises must reach those who wait, and no further.
        except Exception as error:
            await self._failed(pieces, error, apart=True)
            return
        self._learn(seconds, len(items))
        first = 0
        for piece in pieces:
            piece.call.give(piece.first, answers[first : first + len(piece.items)])
            first += len(piece.items)

    async def _timed(self, ctx: Context, items: Sequence[Any]) -> tuple[Sequence[Mapping[str, Json]], float]:
        """The answers, and the seconds since the run could begin: what it stood behind another one is not its own."""
        run, workers, under_way = _Run(self._clock.monotonic()), self._options.workers, self._under_way
        under_way.append(run)
        try:
            answers = await self._call(ctx, items)
        finally:
            now, place = self._clock.monotonic(), under_way.index(run)
            del under_way[place]
            if place < workers <= len(under_way):
                under_way[workers - 1].began = now
        return answers, now - run.began

    async def _failed(self, pieces: Sequence[Piece], error: Exception, *, apart: bool) -> None:
        """Try the calls of a failed run one by one, unless it failed as a whole."""
        if len(pieces) == 1 or not apart:
            for piece in pieces:
                piece.call.fail(error)
            return
        in_a_row = 0
        for piece in pieces:
            if in_a_row >= _TRIES:
                piece.call.fail(error)
                continue
            await self._run([piece])
            failed = piece.call.done.done() and not piece.call.done.cancelled() and piece.call.done.exception()
            in_a_row = in_a_row + 1 if failed else 0

    def _learn(self, seconds: float, count: int) -> None:
        """Split a run's time into what any run costs and what each instance adds, as far as runs of one show it."""
        self._runs += 1
        self._instances += count
        if count == 1:
            self._run_seconds += (_WEIGHT if self._runs > 1 else 1.0) * (seconds - self._run_seconds)
        else:
            each = max(0.0, seconds - self._run_seconds) / count
            self._row_seconds += (_WEIGHT if self._row_seconds else 1.0) * (each - self._row_seconds)


def _patient(pieces: Sequence[Piece]) -> Context:
    """The Context of the call that has the most time: no caller in a hurry cuts the others short."""
    if len(pieces) == 1:
        return pieces[0].call.ctx
    return max(
        (piece.call.ctx for piece in pieces), key=lambda ctx: float("inf") if ctx.deadline is None else ctx.deadline
    )
