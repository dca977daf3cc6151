"""Events in somebody else's transaction, and their way on to a broker.

They are written to the log table in the house's database. Where the bus is that table they are published with the
commit; over a broker a relay hands them on in the order of their numbers, then removes them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from sqlalchemy import Connection

from ..core.context import Context, system_context
from ..core.errors import Throttled, Unavailable
from ..core.storage import Database
from ..core.tasks import end_tasks
from .backends import log
from .backends.statements import run
from .causes import cause_of
from .checking import check_within
from .contract import Event, check
from .packing import NoSeal, Seal, entry_of, packed_who
from .ports import LANES, Bus, Entry, Stored

AT_ONCE = 500
PAUSES = (0.02, 0.5)
_log = logging.getLogger(__name__)


def stage(transaction: Connection, ctx: Context, events: Sequence[Event]) -> None:
    """Publish events with the caller's transaction. Raises InvalidInput, PayloadTooLarge."""
    check(events)
    check_within(transaction, ctx.tenant, events)
    # The caller's function may run again in another transaction, so the moment is drawn each time.
    at = time.time_ns() // 1_000
    who, cause = packed_who(ctx), cause_of(ctx)
    entries = [
        entry_of(event, ctx, who, at=at, seal=NoSeal(), cause=cause, origin="house") for event in events
    ]  # fmt: skip
    log.append(transaction, entries, at)


class Relay:
    """Hands staged events on to a broker, at least once; one process at a time does it."""

    def __init__(self, database: Database, bus: Bus, seal: Seal, *, mine: Callable[[], bool]) -> None:
        self._database = database
        self._bus = bus
        self._seal = seal
        self._mine = mine
        self._ctx = system_context("*", task="events")
        self._task: asyncio.Task[None] | None = None
        self._staged = asyncio.Event()

    def staged(self) -> None:
        """Something may have been staged: look at once."""
        self._staged.set()

    async def start(self) -> None:
        """Begin to hand on."""
        self._task = asyncio.create_task(self._run(), name="events-relay")

    async def stop(self) -> None:
        """Hand on what was staged, as far as the broker takes it, then end."""
        await end_tasks(self._task)

    async def _run(self) -> None:
        pause = PAUSES[0]
        while True:
            moved = 0
            try:
                moved = await self.move() if self._mine() else 0
            except (Unavailable, Throttled) as error:
                _log.warning("staged events could not be handed on: %s", error.detail)
            pause = PAUSES[0] if moved else min(PAUSES[1], pause * 1.5)
            with suppress(TimeoutError):
                async with asyncio.timeout(0 if moved == AT_ONCE else pause):
                    await self._staged.wait()
            self._staged.clear()

    async def move(self) -> int:
        """Hand on the next staged events; how many there were."""
        after = dict.fromkeys(range(LANES), 0)
        entries, _ = await self._database.read(
            lambda c: log.page(c, after, limit=AT_ONCE, tenant=None, types=("*",))
        )  # fmt: skip
        if not entries:
            return 0
        await self._bus.append([self._entry(each) for each in entries])
        last = entries[-1].position
        await self._database.write(
            self._ctx, lambda c: run(c, "DELETE FROM events_log WHERE seq <= ?", (last,)).rowcount
        )
        return len(entries)

    def _entry(self, stored: Stored) -> Entry:
        from .packing import unpack

        packet = unpack(stored.body, NoSeal())
        return Entry(stored.lane, packet.tenant, packet.type, self._seal.close(stored.body))
