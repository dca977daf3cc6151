"""History ends: runs that ended long ago are removed with their journals and blobs."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

from ..core.clock import Clock, micros
from ..core.errors import StanchionError
from ..core.tasks import end_tasks
from .ports import Engine
from .values import Answers

_HOUR = 3_600.0
_AT_ONCE = 200
_log = logging.getLogger(__name__)


class Keeping:
    """Looks each hour for what is older than `days`."""

    def __init__(self, engine: Engine, answers: Answers, clock: Clock, *, days: int) -> None:
        self._engine = engine
        self._answers = answers
        self._clock = clock
        self._days = days
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._serve(), name="pipelines keeping")

    async def stop(self) -> None:
        """Look no more."""
        await end_tasks(self._task)

    async def _serve(self) -> None:
        while True:
            await asyncio.sleep(_HOUR)
            try:
                await self.sweep()
            except StanchionError as error:
                _log.warning("old runs could not be removed: %s", error.detail)

    async def sweep(self) -> int:
        """Remove what is old enough; how many runs. Blobs go first: a kill between leaves rows, found the next time."""
        before = micros(self._clock.now() - timedelta(days=self._days))
        removed = 0
        while found := await self._engine.forget(before, _AT_ONCE):
            for tenant, run in found:
                await self._answers.forget(tenant, run)
            await self._engine.drop(found)
            removed += len(found)
        await self._expire()
        return removed

    async def _expire(self) -> None:
        """Remove kept answers whose time is over."""
        now = micros(self._clock.now())
        while found := await self._engine.expired(now, _AT_ONCE):
            for each in found:
                if each.blob:
                    await self._answers.remove(each.blob)
            await self._engine.unkeep(found, now)
