"""The bus as a table of the house's own database: SQLite for one machine, PostgreSQL for several.

A transaction that changes something else may append to it, so a change and its news commit together.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import islice

from ...core.clock import Clock, micros
from ...core.context import Context, system_context
from ...core.errors import Unavailable
from ...core.storage import Database
from ...core.tasks import end_tasks
from ..contract import matches
from ..ports import LANES, Bus, Entry, Page, Stored
from . import log
from .statements import rows, run

RECENT = 8_192
POLL_SECONDS = (0.01, 0.1)


class SqlBus(Bus):
    """The table `events_log` of one database."""

    trusted = True
    single = True

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._ctx = system_context("*", task="events")
        # What this process appended last, without a gap between the numbers: readers at the head need no query.
        self._recent: deque[tuple[Entry, int]] = deque(maxlen=RECENT)
        self._head = 0
        self._grown = asyncio.Condition()
        self._waiting = 0
        self._waited = False
        self._polling: asyncio.Task[None] | None = None
        self._looking = asyncio.Event()

    async def start(self) -> None:
        self._head = await self._database.read(log.head)

    async def append(self, entries: Sequence[Entry]) -> Sequence[int]:
        return await self.append_as(self._ctx, entries)

    async def append_as(self, ctx: Context, entries: Sequence[Entry]) -> Sequence[int]:
        """Append in the name of a caller, whose audited effect is told of in the same transaction."""
        at = micros(self._clock.now())
        numbers = await self._database.write(ctx, lambda c: log.append(c, entries, at))
        if self._recent and numbers and self._recent[-1][1] + 1 != numbers[0]:
            self._recent.clear()
        self._recent.extend(zip(entries, numbers, strict=True))
        if numbers:
            await self._grow(numbers[-1])
        return numbers

    async def read(
        self,
        after: Mapping[int, int],
        *,
        limit: int,
        wait: float = 0.0,
        tenant: str | None = None,
        types: Sequence[str] = ("*",),
    ) -> Page:
        if not after:
            return Page((), {})
        until = asyncio.get_running_loop().time() + wait
        entries: Sequence[Stored] = ()
        while True:
            reached = min(after.values())
            if not wait or reached < self._head or not self._looks:
                entries, reached = await self._page(after, limit=limit, tenant=tenant, types=types)
            reach = {lane: max(position, reached) for lane, position in after.items()}
            if entries or not wait:
                return Page(entries, reach)
            after = reach
            if not await self._growth(max(reach.values()), until - asyncio.get_running_loop().time()):
                return Page((), reach)

    def look(self) -> None:
        """Others in this process appended: readers look at once, not at the next turn of the poll."""
        self._looking.set()

    async def heads(self) -> Mapping[int, int]:
        return dict.fromkeys(range(LANES), await self._database.read(log.head))

    async def before(self, moment: datetime) -> Mapping[int, int]:
        # Times grow with numbers but for the clocks of several machines: a second is left for those.
        at = micros(moment) - 1_000_000
        found = await self._database.read(
            lambda c: rows(c, "SELECT coalesce(min(seq) - 1, (SELECT coalesce(max(seq), 0) FROM events_log))"
                              " FROM events_log WHERE at >= ?", (at,))
        )  # fmt: skip
        return dict.fromkeys(range(LANES), int(found[0][0]))

    async def behind(self, after: Mapping[int, int], *, most: int) -> int:
        if not after:
            return 0
        least = min(after.values())
        query = "SELECT count(*) FROM (SELECT 1 FROM events_log WHERE seq > ? LIMIT ?) AS found"
        found = await self._database.read(lambda c: rows(c, query, (least, most)))
        return int(found[0][0])

    async def trim(self, upto: Mapping[int, int], *, older: datetime) -> int:
        if not upto:
            return 0
        least, at = min(upto.values()), micros(older)
        text = (
            "DELETE FROM events_log WHERE seq <= ? AND seq < (SELECT max(seq) FROM events_log) AND at < ?"
            " AND seq < (SELECT min(seq) FROM events_log) + ?"
        )
        # In pieces, so that nobody's write waits long for the lock.
        return int(await self._database.write(self._ctx, lambda c: run(c, text, (least, at, 2_000)).rowcount))

    async def stop(self) -> None:
        await end_tasks(self._polling)

    async def _page(
        self, after: Mapping[int, int], *, limit: int, tenant: str | None, types: Sequence[str]
    ) -> tuple[Sequence[Stored], int]:
        least = min(after.values())
        if self._recent and self._recent[0][1] <= least + 1 and self._recent[-1][1] > least:
            scanned = 0
            found: list[Stored] = []
            for entry, number in islice(self._recent, least + 1 - self._recent[0][1], None):
                scanned = number
                if entry.lane in after and number > after[entry.lane] and _fits(entry, tenant, types):
                    found.append(Stored(entry.lane, number, entry.body))
                    if len(found) == limit:
                        break
            return found, scanned
        return await self._database.read(lambda c: log.page(c, after, limit=limit, tenant=tenant, types=types))

    @property
    def _looks(self) -> bool:
        """Whether the poll runs: then a reader at the head need not ask the database itself."""
        return self._polling is not None and not self._polling.done()

    async def _grow(self, head: int) -> None:
        if head > self._head:
            self._head = head
            async with self._grown:
                self._grown.notify_all()

    async def _growth(self, beyond: int, seconds: float) -> bool:
        """Whether an entry beyond the number came within so many seconds."""
        if seconds <= 0:
            return False
        self._waiting += 1
        self._waited = True
        if not self._looks:
            self._polling = asyncio.create_task(self._poll(), name="events-poll")
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds), self._grown:
                    await self._grown.wait_for(lambda: self._head > beyond)
            return self._head > beyond
        finally:
            self._waiting -= 1

    async def _poll(self) -> None:
        """Look for what others appended, until nobody waited for it since the last look: one look for all who wait."""
        pause, most = POLL_SECONDS
        while self._waiting or self._waited:
            self._waited = False
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._looking.wait()
            self._looking.clear()
            found = 0
            with suppress(Unavailable):
                found = await self._database.read(log.head)
            # What this process appended is known without a look: it is no sign of others who append.
            pause = POLL_SECONDS[0] if found > self._head else min(most, pause * 1.2)
            await self._grow(found)


def _fits(entry: Entry, tenant: str | None, types: Sequence[str]) -> bool:
    return (tenant is None or entry.tenant == tenant) and ("*" in types or matches(types, entry.type))
