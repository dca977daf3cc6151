"""What the bus does now and then: publish what was kept for later, measure the backlog, forget what is old."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial

from ..core.clock import Clock, micros
from ..core.context import system_context
from ..core.errors import StanchionError
from ..core.storage import Database
from ..core.tasks import end_tasks
from .backends.statements import Row
from .keeping import delays, handled, slots
from .ports import LANES, Bus

AT_ONCE = 500
NOTES_AT_ONCE = 2_000
LOOK_SECONDS = 10.0
MEASURE_SECONDS = 1.0
TRIM_SECONDS = 60.0
MOST_TRIMS = 1_000
FORGET_SECONDS = 3_600.0
_START = ("", "", "", "")
_log = logging.getLogger(__name__)


class Housekeeping:
    """`released` is called when events were published whose moment came; `each_second` measures the backlog."""

    def __init__(
        self,
        database: Database,
        bus: Bus,
        clock: Clock,
        *,
        keep: timedelta,
        remember: timedelta | None = None,
        released: Callable[[], None],
        each_second: Callable[[], Awaitable[None]],
    ) -> None:
        self._database = database
        self._bus = bus
        self._clock = clock
        self._keep = keep
        self._remember = remember
        self._released = released
        self._each_second = each_second
        self._ctx = system_context("*", task="events")
        self._delayed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def delayed(self) -> None:
        """Something was kept for later: look when its moment comes."""
        self._delayed.set()

    async def start(self) -> None:
        """Begin."""
        works: list[tuple[Callable[[], Awaitable[None]], float]] = [
            (self._release, 0.0),
            (self._each_second, MEASURE_SECONDS),
            (self.trim, TRIM_SECONDS),
        ]
        if self._remember is not None:
            works.append((self.forget, FORGET_SECONDS))
        self._tasks = [asyncio.create_task(self._repeat(work, pause)) for work, pause in works]

    async def stop(self) -> None:
        """End."""
        await end_tasks(*self._tasks)

    async def _repeat(self, work: Callable[[], Awaitable[None]], pause: float) -> None:
        while True:
            await asyncio.sleep(pause)
            try:
                await work()
            except StanchionError as error:
                _log.warning("housekeeping of events: %s", error.detail)
                await asyncio.sleep(1.0)

    async def _release(self) -> None:
        """Publish what is due, then wait for the next moment; others' delays are noticed within ten seconds."""
        self._delayed.clear()
        first = await self._database.read(delays.first)
        now = micros(self._clock.now())
        if first is not None and first <= now:
            await self._database.write(self._ctx, lambda c: delays.release(c, now, limit=AT_ONCE))
            self._released()
            return
        wait = LOOK_SECONDS if first is None else min(LOOK_SECONDS, (first - now) / 1e6)
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._delayed.wait()

    async def forget(self) -> None:
        """Remove the notes of events that were handled longer ago than is remembered, in pieces, by their keys."""
        if self._remember is None:
            return
        older = micros(self._clock.now() - self._remember)
        place: Row | None = _START
        while place is not None:
            old, place = await self._database.read(
                partial(handled.prune, after=place, older=older, limit=NOTES_AT_ONCE)
            )  # fmt: skip
            if old:
                await self._database.write(self._ctx, partial(handled.forget, notes=old))

    async def trim(self) -> None:
        """Forget what all consumers are done with and nobody may replay any more."""
        older = self._clock.now() - self._keep
        heads = dict(await self._bus.heads())
        for positions in (await self._database.read(slots.positions)).values():
            heads = {lane: min(heads[lane], positions.get(lane, 0)) for lane in range(LANES)}
        for _ in range(MOST_TRIMS):
            # Piece by piece, as others write in between.
            if not await self._bus.trim(heads, older=older):
                return
