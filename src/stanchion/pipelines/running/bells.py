"""Wakes who waits in this process for a run that this process lets go of."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from weakref import WeakValueDictionary


class Bells:
    """One for each run that is waited for; it is forgotten with the last who waits."""

    def __init__(self) -> None:
        self._of: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()

    def ring(self, run: str) -> None:
        """The run has ended here, or is parked."""
        bell = self._of.pop(run, None)
        if bell is not None:
            bell.set()

    async def heard(self, run: str, seconds: float) -> None:
        """Return when it rings, or after so many seconds: runs end in other processes too."""
        bell = self._of.setdefault(run, asyncio.Event())
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await bell.wait()
