"""Old rows go, in short transactions from the front of a table, so that no other write waits for long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta

from sqlalchemy import Column, Connection, Table, func, select

from ..clock import Clock, micros
from ..context import system_context
from ..errors import StanchionError
from ..storage.contract import Database
from ..tasks import end_tasks

_AT_ONCE = 5_000
Prune = Callable[[datetime], Awaitable[int]]
_log = logging.getLogger(__name__)


async def prune(database: Database, table: Table, time: Column[int], older_than: datetime) -> int:
    """Delete the rows of a numbered table from before that moment; how many went.

    Rows lie in the order of writing, which is nearly that of time: a late one goes with its neighbours.
    """
    before, ctx, total = micros(older_than), system_context("system", task="retention"), 0
    while True:
        went = await database.write(ctx, lambda connection: _front(connection, table, time, before))
        total += went
        if went < _AT_ONCE:
            return total


def _front(connection: Connection, table: Table, time: Column[int], before: int) -> int:
    """Delete what is old among the first rows. Only these are looked at: a whole scan would hold up other writes."""
    front = select(table.c.id.label("id"), time.label("time")).order_by(table.c.id).limit(_AT_ONCE).subquery()
    last = select(func.max(front.c.id)).where(front.c.time < before).scalar_subquery()
    return connection.execute(table.delete().where(table.c.id <= last, time < before)).rowcount


class Retention:
    """Prunes once at start and every hour from then on. `prunes` maps a store's own `prune` to the days it keeps."""

    def __init__(self, prunes: Mapping[Prune, int], clock: Clock, *, every: float = 3_600.0) -> None:
        self._prunes = prunes
        self._clock = clock
        self._every = every
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to prune in the background."""
        self._task = asyncio.create_task(self._serve(), name="system:retention")

    async def stop(self) -> None:
        """End; a deletion under way is finished by the database."""
        await end_tasks(self._task)

    async def once(self) -> None:
        """Prune every store now; one that fails does not keep the others from it."""
        for prune_store, days in self._prunes.items():
            try:
                await prune_store(self._clock.now() - timedelta(days=days))
            except StanchionError as error:
                _log.warning("old telemetry could not be removed: %s", error)

    async def _serve(self) -> None:
        while True:
            await self.once()
            await asyncio.sleep(self._every)
