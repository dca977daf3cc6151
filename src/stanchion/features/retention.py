"""How long pushed rows are kept: as long as a training set of the last days needs them, and never less than serving."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress

from ..core.clock import Clock, micros
from ..core.errors import StanchionError
from .offline.relations import log_name
from .ports import Log
from .windows.plan import Plan
from .windows.state import SLACK

_log = logging.getLogger(__name__)
_DAY = 86_400_000_000
_PAGE = 5_000
_EVERY_SECONDS = 600.0


class Retention:
    """Forgets what no join at a moment of the last `days` can need, page by page in the background; 0 forgets nothing.

    Rows of what is no longer declared stay: nothing says how far back they would be needed.
    """

    def __init__(self, plans: Iterable[Plan], log: Log, clock: Clock, *, days: float) -> None:
        self._log = log
        self._clock = clock
        self._kept: dict[str, int] = {}
        for plan in plans:
            name = log_name(plan.spec)
            self._kept[name] = max(self._kept.get(name, 0), kept(plan, days))
        self._forgets = days > 0
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to forget."""
        if self._forgets:
            self._task = asyncio.create_task(self._run(), name="features-retention")

    async def stop(self) -> None:
        """End after the page under way."""
        self._stopping.set()
        if self._task is not None:
            await self._task

    async def prune(self) -> int:
        """Forget what is due now; how many rows. Raises what the database raises."""
        gone = 0
        for tenant, name in await self._log.holds() if self._forgets else ():
            if name not in self._kept:
                continue
            before = micros(self._clock.now()) - self._kept[name]
            page = _PAGE
            while page == _PAGE and not self._stopping.is_set():
                page = await self._log.prune(tenant, name, before=before, most=_PAGE)
                gone += page
                # Pushes get their turn between two pages.
                await asyncio.sleep(0)
        return gone

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                await self.prune()
            except StanchionError as error:
                _log.warning("old pushed rows could not be forgotten: %s", error.detail)
            with suppress(TimeoutError):
                async with asyncio.timeout(_EVERY_SECONDS):
                    await self._stopping.wait()


def kept(plan: Plan, days: float) -> int:
    """How old a view's row may become, in microseconds.

    A join at a moment reads back as far as a value is remembered and a window reaches; the earliest moment is `days`
    ago. A ttl more is always kept: what fills the online side again is never forgotten.
    """
    return max(round(days * _DAY), plan.ttl + SLACK) + plan.memory
