"""Which cursors are open: each read goes on where an earlier one ended, without asking the server from where."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from .connection import Connection
from .cursor import Cursor
from .packing import complete, priority_of

_MOST = 64
_IDLE = 60.0
_APART = 2_000
"""Lanes whose positions lie further apart than so many messages are not read together."""


def grouped(after: Mapping[int, int]) -> tuple[dict[int, int], dict[int, int]]:
    """The lanes to read now, which are those furthest behind, and the rest."""
    least = complete(min(after.values()))
    near = {lane: place for lane, place in after.items() if complete(place) <= least + _APART}
    return near, {lane: place for lane, place in after.items() if lane not in near}


class Cursors:
    """The cursors of this process, and which of them nobody reads from at the moment."""

    def __init__(self, link: Connection) -> None:
        self._link = link
        self._free: list[tuple[str, Cursor]] = []
        self._out: set[Cursor] = set()

    @asynccontextmanager
    async def at(self, lanes: Mapping[int, int]) -> AsyncIterator[Cursor]:
        """A cursor behind which lies all that these lanes have not read. It is kept for the read that goes on."""
        place, filtered = complete(min(lanes.values())), _filter(lanes)
        cursor = self._found(place, filtered) or await self._made(place, filtered)
        self._out.add(cursor)
        try:
            yield cursor
        except asyncio.CancelledError:
            self._keep(filtered, cursor)
            raise
        except BaseException:
            await cursor.close()
            raise
        else:
            self._keep(filtered, cursor)
        finally:
            self._out.discard(cursor)
        await self._tidy()

    def interrupt(self, reason: str) -> None:
        """End all cursors: the connection has broken."""
        for cursor in (*self._out, *(free for _, free in self._free)):
            cursor.interrupt(reason)
        self._free.clear()

    async def close(self) -> None:
        """End all cursors."""
        free, self._free = self._free, []
        for _, cursor in free:
            await cursor.close()

    def _found(self, place: int, filtered: str) -> Cursor | None:
        for number, (wanted, cursor) in enumerate(self._free):
            if cursor.at == place and wanted == filtered:
                del self._free[number]
                return cursor
        return None

    async def _made(self, place: int, filtered: str) -> Cursor:
        link = self._link
        cursor = Cursor(link.client, link.js, stream=link.stream, subject=link.subject(filtered), at=place)
        await cursor.open()
        return cursor

    def _keep(self, filtered: str, cursor: Cursor) -> None:
        cursor.used = time.monotonic()
        self._free.append((filtered, cursor))

    async def _tidy(self) -> None:
        now = time.monotonic()
        while self._free and (len(self._free) > _MOST or now - self._free[0][1].used > _IDLE):
            _, cursor = self._free.pop(0)
            await cursor.close()


def _filter(lanes: Mapping[int, int]) -> str:
    """The subjects that hold these lanes: those of one priority, where they are of one, else all."""
    priorities = {priority_of(lane) for lane in lanes}
    return f"{priorities.pop()}.*.*.*" if len(priorities) == 1 else "*.*.*.*"
