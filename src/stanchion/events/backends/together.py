"""Appends that come while one is on its way are made together: an answer costs the same for one and for many."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from ...core.errors import StanchionError, Unavailable
from ..ports import Entry

AT_ONCE = 2_000
_BYTES = 8 << 20
Stores = Callable[[Sequence[Entry]], Awaitable[Sequence[int]]]


class Together:
    """Stores entries by `stores`, one call at a time, in the order in which they were given.

    Where a call fails, so does all that waits behind it: what comes later is not stored before it is tried again.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._waiting: list[tuple[Sequence[Entry], asyncio.Future[Sequence[int]]]] = []
        self._task: asyncio.Task[None] | None = None

    async def append(self, entries: Sequence[Entry]) -> Sequence[int]:
        """The positions of the entries, once they are stored. Raises what storing raises."""
        if not entries:
            return ()
        future: asyncio.Future[Sequence[int]] = asyncio.get_running_loop().create_future()
        self._waiting.append((entries, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="bus-append")
        return await future

    async def stop(self) -> None:
        """Store what waits, then end."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while self._waiting:
            batch = self._next()
            try:
                positions = await self._stores([entry for entries, _ in batch for entry in entries])
            except StanchionError as error:
                self._fail(batch, error)
            except BaseException:
                self._fail(batch, Unavailable("the append was ended half-way"))
                raise
            else:
                self._tell(batch, positions)

    def _next(self) -> list[tuple[Sequence[Entry], asyncio.Future[Sequence[int]]]]:
        number = entries = size = 0
        for given, _ in self._waiting:
            if number and (entries + len(given) > AT_ONCE or size > _BYTES):
                break
            number += 1
            entries += len(given)
            size += sum(len(each.body) for each in given)
        batch, self._waiting = self._waiting[:number], self._waiting[number:]
        return batch

    def _tell(
        self, batch: Sequence[tuple[Sequence[Entry], asyncio.Future[Sequence[int]]]], positions: Sequence[int]
    ) -> None:
        start = 0
        for entries, future in batch:
            if not future.done():  # its caller may have left
                future.set_result(positions[start : start + len(entries)])
            start += len(entries)

    def _fail(
        self, batch: Sequence[tuple[Sequence[Entry], asyncio.Future[Sequence[int]]]], error: StanchionError
    ) -> None:
        waiting, self._waiting = self._waiting, []
        for _, future in (*batch, *waiting):
            if not future.done():
                future.set_exception(error)
