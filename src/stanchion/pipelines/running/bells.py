"""Wakes who waits in this process for a run that this process lets go of."""

from __future__ import annotations

import asyncio


class Bells:
    """One for each who waits for a run; it is forgotten when the waiting ends."""

    def __init__(self) -> None:
        self._of: dict[str, set[asyncio.Future[None]]] = {}

    def ring(self, run: str) -> None:
        """The run has ended here, or is parked."""
        for bell in self._of.pop(run, ()):
            if not bell.done():
                bell.set_result(None)

    async def heard(self, run: str, seconds: float) -> None:
        """Return when it rings, or after so many seconds: runs end in other processes too."""
        bell: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._of.setdefault(run, set()).add(bell)
        try:
            await asyncio.wait((bell,), timeout=seconds)
        finally:
            waiting = self._of.get(run, set())
            waiting.discard(bell)
            if not waiting:
                self._of.pop(run, None)
