"""Threads for graphs that are too slow for the event loop, with a bound on what may wait for them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Any, Protocol, TypeVar

from ..core.errors import Throttled

A = TypeVar("A")
R = TypeVar("R")


class Threads(Protocol):
    """Where blocking work is run."""

    async def run(self, work: Callable[[A], R], argument: A) -> R:
        """What the work returns. Raises Throttled at once when too many runs wait, else what the work raises."""
        ...


class Pool(Threads):
    """At most `threads` runs at once and `waiting` behind them.

    A run whose caller has gone still holds its place until it ends: a thread cannot be stopped.
    """

    def __init__(self, *, threads: int, waiting: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="serving")
        self._most = threads + waiting
        self._held = 0

    async def run(self, work: Callable[[A], R], argument: A) -> R:
        return await self.awaited(lambda: self.submitted(work, argument))

    def lane(self, runs: int) -> Lane:
        """A line of its own in front of these threads, of which at most so many runs are under way at once."""
        return Lane(self, runs)

    def submitted(self, work: Callable[[A], R], argument: A) -> Future[R]:
        """Hand work to a thread that is free."""
        return self._executor.submit(work, argument)

    async def awaited(self, begin: Callable[[], Future[R]]) -> R:
        """What the begun work returns; it counts among the runs from here on. Raises Throttled."""
        if self._held >= self._most:
            raise Throttled(f"{self._held} runs of slow graphs wait already", retry_after=1.0)
        self._held += 1
        future = asyncio.wrap_future(begin())
        future.add_done_callback(self._free)
        return await asyncio.shield(future)

    def _free(self, future: asyncio.Future[R]) -> None:
        self._held -= 1
        # Looked at, so that a failure after its caller left is not reported as forgotten.
        if not future.cancelled():
            future.exception()

    def close(self) -> None:
        """Start no more runs; those under way end by themselves."""
        self._executor.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class _Due:
    """Work in a lane, and where its outcome goes."""

    work: Callable[[Any], Any]
    argument: Any
    outcome: Future[Any]


class Lane(Threads):
    """Runs in the order in which they came, at most `runs` of them at once.

    A thread that has ended one begins the next by itself. By way of the event loop that would take a good part of a
    millisecond, more while the loop hands out the answers of the run before, and an engine would idle for so long.
    """

    def __init__(self, pool: Pool, runs: int) -> None:
        self._pool = pool
        self._runs = runs
        self._line: deque[_Due] = deque()
        self._lock = Lock()
        self._busy = 0

    async def run(self, work: Callable[[A], R], argument: A) -> R:
        return await self._pool.awaited(lambda: self._begun(work, argument))

    def _begun(self, work: Callable[[A], R], argument: A) -> Future[R]:
        outcome: Future[R] = Future()
        with self._lock:
            self._line.append(_Due(work, argument, outcome))
            more = self._busy < self._runs
            self._busy += more
        if more:
            self._pool.submitted(self._work_off, None).add_done_callback(self._ended)
        return outcome

    def _work_off(self, _: None) -> None:
        """A thread's turn: run what is due until nothing is."""
        while True:
            with self._lock:
                if not self._line:
                    self._busy -= 1
                    return
                due = self._line.popleft()
            if not due.outcome.set_running_or_notify_cancel():
                continue
            try:
                found = due.work(due.argument)
            # Whatever the work raises belongs to who waits for it: the thread goes on with the next.
            except BaseException as error:
                due.outcome.set_exception(error)
            else:
                due.outcome.set_result(found)
            del due

    def _ended(self, turn: Future[None]) -> None:
        """Let nobody wait for a turn that a closed pool never began."""
        if turn.cancelled():
            with self._lock:
                self._busy -= 1
                left, self._line = self._line, deque()
            for due in left:
                due.outcome.cancel()
