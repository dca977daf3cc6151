"""Many small records, one transaction: the buffer between callers that must not wait and a store that may."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar

from ..context import system_context
from ..errors import Unavailable
from ..storage.contract import Database
from ..tasks import end_tasks

if TYPE_CHECKING:
    from sqlalchemy import Connection

T = TypeVar("T")
# `again` is set when an attempt failed: its commit may still have happened, and a record may be at fault.
Insert = Callable[["Connection", Sequence[T], bool], None]
_ENOUGH = 500
_MOST = 1_000
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
_log = logging.getLogger(__name__)


class BatchWriter(Generic[T]):
    """Records in the order of `add`, each stored once. Used on one event loop.

    A batch goes out when 500 records wait, or `linger` seconds after the first. A batch that fails is tried
    again, unchanged, with growing pauses, while later records wait behind it.
    """

    def __init__(
        self,
        database: Database,
        insert: Insert[T],
        *,
        task: str,
        capacity: int,
        linger: float = 0.05,
        grace: float = 10.0,
    ) -> None:
        self._database = database
        self._insert = insert
        self._ctx = system_context("system", task=task)
        self._capacity = capacity
        self._linger = linger
        self._grace = grace
        self._items: deque[T] = deque()
        self._some = asyncio.Event()
        self._now = asyncio.Event()
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    @property
    def backlog(self) -> int:
        """Records that are not yet stored."""
        return len(self._items)

    @property
    def full(self) -> bool:
        """Whether the buffer holds as much as it should; `add` still takes what is under way."""
        return len(self._items) >= self._capacity

    def add(self, item: T) -> None:
        """Take a record; returns at once."""
        self._items.append(item)
        size = len(self._items)
        if size == 1:
            self._some.set()
        elif size == _ENOUGH:
            self._now.set()

    async def start(self) -> None:
        """Begin to store what is added."""
        self._task = asyncio.create_task(self._serve(), name=self._ctx.principal)

    async def stop(self) -> None:
        """Store all that waits, then end. Raises Unavailable if the store takes nothing for `grace` seconds."""
        try:
            while self._items:
                async with asyncio.timeout(self._grace), self._turn:
                    if self._items:  # the background task may have stored the last ones meanwhile
                        await self._write_batch()
        except TimeoutError as error:
            raise Unavailable(f"{len(self._items)} records of {self._ctx.principal} could not be stored") from error
        finally:
            await end_tasks(self._task)

    async def flush(self) -> None:
        """Return once everything added before is stored; waits as long as the store fails."""
        async with self._turn:
            due = len(self._items)
            while due > 0:
                due -= await self._write_batch()

    async def _serve(self) -> None:
        while True:
            await self._some.wait()
            if len(self._items) < _ENOUGH:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._linger):
                        await self._now.wait()
            self._now.clear()
            async with self._turn:
                if self._items:
                    await self._write_batch()
            if not self._items:
                self._some.clear()

    async def _write_batch(self) -> int:
        """Store one batch, however often it must be tried; its size. It stays in the buffer until it is stored."""
        batch = list(islice(self._items, _MOST))
        again, pause = False, _SHORTEST_PAUSE
        while True:
            try:
                await self._attempt(batch, again)
                break
            except Exception as error:
                if not again:
                    _log.warning("%s cannot store its records, and tries again: %s", self._ctx.principal, error)
            again = True
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        for _ in batch:
            self._items.popleft()
        return len(batch)

    async def _attempt(self, batch: Sequence[T], again: bool) -> None:
        await self._database.write(self._ctx, lambda connection: self._insert(connection, batch, again))
