"""The bus of a system that declares no events: it sleeps until somebody asks for it, or something lies in it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from sqlalchemy import Connection, inspect

from ..core.dormant import Dormant
from ..core.errors import StanchionError
from ..core.storage import Database
from ..core.tasks import end_tasks
from .backends.statements import rows
from .contract import Events

LOOK_SECONDS = 10.0
_LOOK = (
    "SELECT EXISTS (SELECT 1 FROM events_log) OR EXISTS (SELECT 1 FROM events_delayed)"
    " OR EXISTS (SELECT 1 FROM events_consumers)"
)
_HOOKS = "events_hooks"
_LOOK_AT_HOOKS = "SELECT EXISTS (SELECT 1 FROM events_hooks)"
_log = logging.getLogger(__name__)


class Sleeping(Dormant):
    """Wakes at the first call, and where the tables hold what needs work: webhooks, delays, consumers, a log to trim.

    Modules above stage their news without a call, and other processes write too. So the tables are looked at when it
    starts and each ten seconds.
    """

    def __init__(self, build: Callable[[], Awaitable[Events]], database: Database) -> None:
        super().__init__(Events, build)
        self._database = database
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look, and wake or go on looking. Raises what the service's own start raises."""
        if await self._database.read(holds_something):
            await self.wake()
        else:
            self._watch = asyncio.create_task(self._look(), name="events-asleep")

    async def stop(self) -> None:
        """End what was woken."""
        await end_tasks(self._watch)
        await super().stop()

    async def _look(self) -> None:
        while self._service is None:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                if await self._database.read(holds_something):
                    await self.wake()
            except StanchionError as error:
                _log.warning("it is not known whether there are events: %s", error.detail)


def holds_something(connection: Connection) -> bool:
    """Whether a process must work for the bus."""
    if rows(connection, _LOOK)[0][0]:
        return True
    # The table of webhooks is made with the first of them.
    return inspect(connection).has_table(_HOOKS) and bool(rows(connection, _LOOK_AT_HOOKS)[0][0])
