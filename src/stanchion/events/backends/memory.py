"""The bus in the memory of one process, for tests and trials: it ends with the process."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from ...core.clock import Clock
from ..contract import matches
from ..ports import LANES, Bus, Entry, Page, Stored


@dataclass(frozen=True, slots=True)
class _Kept:
    """An entry with its number and its moment."""

    number: int
    at: datetime
    entry: Entry


class MemoryBus(Bus):
    """One list for all lanes."""

    trusted = True
    single = True

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: list[_Kept] = []
        self._number = 0
        self._grown = asyncio.Condition()

    async def start(self) -> None:
        """There is nothing to connect to."""

    async def append(self, entries: Sequence[Entry]) -> Sequence[int]:
        now = self._clock.now()
        first = self._number + 1
        self._number += len(entries)
        self._kept += [_Kept(first + offset, now, entry) for offset, entry in enumerate(entries)]
        async with self._grown:
            self._grown.notify_all()
        return range(first, self._number + 1)

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
        page = self._page(after, limit, tenant, types)
        if page.entries or not wait:
            return page
        with suppress(TimeoutError):
            async with asyncio.timeout(wait), self._grown:
                while not page.entries:
                    await self._grown.wait()
                    page = self._page(page.reached, limit, tenant, types)
        return page

    async def heads(self) -> Mapping[int, int]:
        return dict.fromkeys(range(LANES), self._number)

    async def before(self, moment: datetime) -> Mapping[int, int]:
        place = bisect_left(self._kept, moment, key=lambda kept: kept.at)
        number = self._kept[place].number - 1 if place < len(self._kept) else self._number
        return dict.fromkeys(range(LANES), number)

    async def behind(self, after: Mapping[int, int], *, most: int) -> int:
        found = 0
        for kept in islice(self._kept, self._first(min(after.values(), default=self._number)), None):
            found += kept.entry.lane in after and kept.number > after[kept.entry.lane]
            if found >= most:
                break
        return found

    async def trim(self, upto: Mapping[int, int], *, older: datetime) -> int:
        going = [k for k in self._kept if k.number <= upto.get(k.entry.lane, 0) and k.at < older]
        gone = {kept.number for kept in going}
        self._kept = [kept for kept in self._kept if kept.number not in gone]
        return len(going)

    async def stop(self) -> None:
        """There is nothing to disconnect from."""

    def _first(self, after: int) -> int:
        """The place in the list of the first entry behind a number."""
        return bisect_right(self._kept, after, key=lambda kept: kept.number)

    def _page(self, after: Mapping[int, int], limit: int, tenant: str | None, types: Sequence[str]) -> Page:
        found: list[Stored] = []
        reached = self._number
        for kept in islice(self._kept, self._first(min(after.values())), None):
            entry = kept.entry
            wanted = (tenant is None or entry.tenant == tenant) and matches(types, entry.type)
            if wanted and entry.lane in after and kept.number > after[entry.lane]:
                found.append(Stored(entry.lane, kept.number, entry.body))
                if len(found) == limit:
                    reached = kept.number
                    break
        return Page(found, {lane: max(position, reached) for lane, position in after.items()})
