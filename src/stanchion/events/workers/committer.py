"""Ends handlings in the database, as many to one transaction as came while the last one was on its way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from ...core.context import system_context
from ...core.errors import Unavailable
from ...core.storage import Database
from ...core.tasks import end_tasks
from ..keeping.finishing import Answer, Finish, finish
from ..keeping.slots import Consumer, Slot, save

AT_ONCE = 500
PAUSES = (0.05, 2.0)
SAVE_SECONDS = 0.2
Ended = Callable[[Answer], None]
Saves = Callable[[], Sequence[tuple[Consumer, Sequence[Slot]]]]
_log = logging.getLogger(__name__)


class Committer:
    """One for a process. `saves` gives the positions that have moved; they go with a commit now and then."""

    def __init__(self, database: Database, *, saves: Saves, staged: Callable[[], None]) -> None:
        self._database = database
        self._saves = saves
        self._staged = staged
        self._ctx = system_context("*", task="events")
        self._queue: list[tuple[Finish, Ended]] = []
        self._filled = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._task: asyncio.Task[None] | None = None
        self._saved_at = 0.0

    def add(self, finished: Finish, ended: Ended) -> None:
        """End a handling; `ended` is called once it is durable, or refused."""
        self._queue.append((finished, ended))
        self._empty.clear()
        self._filled.set()

    async def start(self) -> None:
        """Begin to commit."""
        self._task = asyncio.create_task(self._run(), name="events-commit")

    async def drained(self) -> None:
        """Return once all that was added has ended."""
        await self._empty.wait()

    async def stop(self) -> None:
        """End. What has not ended is handled again."""
        await end_tasks(self._task)

    async def _run(self) -> None:
        while True:
            await self._filled.wait()
            batch = self._queue[:AT_ONCE]
            del self._queue[:AT_ONCE]
            await self._end(batch)
            if not self._queue:
                self._filled.clear()
                self._empty.set()

    async def _end(self, batch: Sequence[tuple[Finish, Ended]]) -> None:
        pause = PAUSES[0]
        while True:
            try:
                answers = await self._commit([each for each, _ in batch])
                break
            except Unavailable as error:
                # Whether it is stored may be unknown. Asked again, what was stored answers that it is a duplicate.
                _log.warning("the end of handlings could not be stored: %s", error.detail)
                await asyncio.sleep(pause)
                pause = min(PAUSES[1], pause * 2)
            except Exception as error:
                # Whatever the database refuses is an answer: were this to end, no handling would end any more.
                if len(batch) > 1:
                    for one in batch:
                        await self._end([one])
                    return
                answers = [Answer("retry", error)]
                break
        if any(each.entries for each, _ in batch):
            self._staged()
        for (_, ended), answer in zip(batch, answers, strict=True):
            try:
                ended(answer)
            except Exception:
                _log.exception("the end of a handling could not be taken in")

    async def _commit(self, finishes: Sequence[Finish]) -> Sequence[Answer]:
        now = asyncio.get_running_loop().time()
        saves: Sequence[tuple[Consumer, Sequence[Slot]]] = ()
        if now - self._saved_at >= SAVE_SECONDS:
            self._saved_at = now
            saves = self._saves()

        def work(connection: Connection) -> Sequence[Answer]:
            answers = finish(connection, finishes)
            for consumer, slots in saves:
                save(connection, consumer, slots)
            return answers

        return await self._database.write(self._ctx, work)
