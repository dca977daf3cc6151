"""Steps of many runs in one transaction: while one batch is on its way to the disk, the next gathers.

The database shares commits among writes by itself, but each write costs it a savepoint, which is as dear as the step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from ...core.errors import StanchionError
from ..ports import Hold, StepRow

MOST = 256


@dataclass(slots=True)
class Line:
    """One step to be written, and who waits for it: the answer is whether its hold was good."""

    hold: Hold
    row: StepRow
    done: asyncio.Future[bool]


class Batcher:
    """Gathers lines; `write` stores a batch and says of each line whether its hold was good."""

    def __init__(self, write: Callable[[Sequence[Line]], Awaitable[Sequence[bool]]]) -> None:
        self._write = write
        self._lines: list[Line] = []
        self._task: asyncio.Task[None] | None = None

    async def put(self, hold: Hold, row: StepRow) -> bool:
        """Store a step; whether the hold was good. Raises what the database raises."""
        line = Line(hold, row, asyncio.get_running_loop().create_future())
        self._lines.append(line)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._flush(), name="pipelines journal")
        # Whoever is cancelled leaves; the line is written all the same, as every write that was begun.
        return await asyncio.shield(line.done)

    async def _flush(self) -> None:
        while self._lines:
            batch, self._lines = self._lines[:MOST], self._lines[MOST:]
            try:
                good = await self._write(batch)
            except Exception as error:
                if len(batch) > 1 and not isinstance(error, StanchionError):
                    # One line that the database does not take must not fail the others: each alone.
                    for line in batch:
                        await self._alone(line)
                    continue
                for line in batch:
                    _fail(line, error)
                continue
            for line, fine in zip(batch, good, strict=True):
                if not line.done.done():
                    line.done.set_result(fine)

    async def _alone(self, line: Line) -> None:
        try:
            [fine] = await self._write([line])
        except Exception as error:
            _fail(line, error)
            return
        if not line.done.done():
            line.done.set_result(fine)


def _fail(line: Line, error: Exception) -> None:
    if not line.done.done():
        line.done.set_exception(error)
