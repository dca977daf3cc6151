"""Lines of many runs in one transaction: while one batch is on its way to the disk, the next gathers.

The database shares commits among writes by itself, but each write costs it a savepoint, which is as dear as the line.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from ...core.errors import StanchionError

P = TypeVar("P")
MOST = 256
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Line(Generic[P]):
    """What is to be written, and who waits for it: the answer is whether its hold was good."""

    what: P
    done: asyncio.Future[bool]

    def fail(self, error: Exception) -> None:
        """Raise it where the line is waited for; whoever was cancelled has left."""
        if not self.done.done():
            self.done.set_exception(error)

    def end(self, good: bool) -> None:
        """Give the answer."""
        if not self.done.done():
            self.done.set_result(good)


class Batcher(Generic[P]):
    """Gathers lines; `write` stores a batch and says of each line whether its hold was good.

    A line that finds nothing under way is written at once by who brings it: a lone run waits for no other task.
    """

    def __init__(self, write: Callable[[Sequence[P]], Awaitable[Sequence[bool]]]) -> None:
        self._write = write
        self._lines: list[Line[P]] = []
        self._busy = False
        self._task: asyncio.Task[None] | None = None

    async def put(self, what: P) -> bool:
        """Store a line; whether its hold was good. Raises what the database raises.

        Whoever is cancelled leaves; the line is written all the same, as every write that was begun.
        """
        if self._busy:
            line = Line(what, asyncio.get_running_loop().create_future())
            self._lines.append(line)
            return await line.done
        self._busy = True
        try:
            [good] = await self._write([what])
            return good
        finally:
            if self._lines:
                self._task = asyncio.create_task(self._flush(), name="pipelines journal")
            else:
                self._busy = False

    async def _flush(self) -> None:
        while self._lines:
            batch, self._lines = self._lines[:MOST], self._lines[MOST:]
            await self._batch(batch)
        self._busy = False

    async def _batch(self, batch: Sequence[Line[P]]) -> None:
        try:
            good = await self._write([line.what for line in batch])
        except Exception as error:
            if len(batch) == 1 or isinstance(error, StanchionError):
                for line in batch:
                    line.fail(error)
                return
            told = f"{type(error).__name__}: {error}".partition("\n")[0]
            _log.warning("%d lines of runs could not be stored together, each is tried alone: %s", len(batch), told)
        else:
            for line, fine in zip(batch, good, strict=True):
                line.end(fine)
            return
        # One line that the database does not take must not fail the others: each alone.
        for line in batch:
            await self._batch([line])
