"""Tells watchers of changes: at once those of this process, within the poll interval those of others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

from ..core.errors import InvalidInput, Unavailable
from .contract import Change
from .ports import Records, Store

_PAGE = 100


class Watch:
    """The changes of a store. `poll_seconds` is how long another process's change may stay unnoticed."""

    def __init__(self, store: Store, *, poll_seconds: float) -> None:
        self._store = store
        self._poll_seconds = poll_seconds
        self._bell = asyncio.Event()
        self._stopped = False

    def ring(self) -> None:
        """Something was committed: wake everybody who waits."""
        self._bell.set()
        self._bell = asyncio.Event()

    def stop(self) -> None:
        """End all watching."""
        self._stopped = True
        self.ring()

    async def changes(self, tenant: str, since: int) -> AsyncIterator[Change]:
        """Changes of a tenant after a cursor, without end. Raises Unavailable once stopped."""
        if since < -1:
            raise InvalidInput("since must be a cursor of a former change, 0 or -1")
        cursor = since if since >= 0 else await self._store.read(tenant, lambda records: records.last_cursor())
        while not self._stopped:
            # Taken before reading: a change committed after the read rings the bell we wait for.
            bell = self._bell
            found = await self._store.read(tenant, partial(_after, cursor))
            for change in found:
                cursor = change.cursor
                yield change
            if not found:
                await self._wait(bell)
        raise Unavailable("the registry is stopping")

    async def _wait(self, bell: asyncio.Event) -> None:
        scope = asyncio.timeout(self._poll_seconds)
        try:
            async with scope:
                await bell.wait()
        except TimeoutError:
            if not scope.expired():
                raise


def _after(cursor: int, records: Records) -> list[Change]:
    return list(records.changes(cursor, _PAGE))
