"""Threads for graphs that are too slow for the event loop, with a bound on what may wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ..core.errors import Throttled

A = TypeVar("A")
R = TypeVar("R")


class Pool:
    """At most `threads` runs at once and `waiting` behind them.

    A run whose caller has gone still holds its place until it ends: a thread cannot be stopped.
    """

    def __init__(self, *, threads: int, waiting: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="serving")
        self._most = threads + waiting
        self._held = 0

    async def run(self, work: Callable[[A], R], argument: A) -> R:
        """What the work returns. Raises Throttled at once when too many runs wait, else what the work raises."""
        if self._held >= self._most:
            raise Throttled(f"{self._held} runs of slow graphs wait already", retry_after=1.0)
        self._held += 1
        future = asyncio.get_running_loop().run_in_executor(self._executor, work, argument)
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
