"""Who goes first: live calls never wait for a batch, and a batch makes fewer calls at once beside live ones."""

from __future__ import annotations

import asyncio
from collections import deque


class Load:
    """The calls under way in this process: `with load:` around each."""

    __slots__ = ("_waiting", "under_way")

    def __init__(self) -> None:
        self.under_way = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def __enter__(self) -> None:
        self.under_way += 1

    def __exit__(self, *error: object) -> None:
        self.under_way -= 1
        if self._waiting:
            self.wake()

    def wake(self) -> None:
        """Let who waits first look again."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    async def less(self) -> None:
        """Wait until a call has ended."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            # A wake that reached nobody is the next one's.
            if waiter.done() and not waiter.cancelled():
                self.wake()
            raise


class Turns:
    """Turns of a batch's calls: `most` at once, one fewer for each live call under way, but always one.

    One goes on whatever the load, so that a batch comes to its end.
    """

    def __init__(self, load: Load, most: int) -> None:
        self._load = load
        self._most = most
        self.running = 0

    async def __aenter__(self) -> None:
        while self.running and self.running >= self._room():
            await self._load.less()
        self.running += 1

    async def __aexit__(self, *error: object) -> None:
        self.running -= 1
        self._load.wake()

    def _room(self) -> int:
        live = max(0, self._load.under_way - self.running)
        return max(1, self._most - live)
