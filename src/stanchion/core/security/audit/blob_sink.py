"""Checkpoints as blobs: a second sink on other ground than the machine, such as a bucket that keeps versions."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from contextlib import suppress

from ...clock import Clock
from ...errors import NotFound, StanchionError, Unavailable
from ...storage.contract import Blobs
from .ports import CheckpointSink


class BlobSink(CheckpointSink):
    """Stores the newest checkpoint as `PREFIX/DAY/PROCESS.note`, at most once in `every` seconds.

    A checkpoint covers all before it, so those that come meanwhile are passed over, and one blob a day is left of each
    process. While storing fails, `append` refuses.
    """

    def __init__(self, blobs: Blobs, clock: Clock, *, prefix: str = "audit/checkpoints", every: float = 10.0) -> None:
        self.name = prefix
        self._blobs = blobs
        self._clock = clock
        self._every = every
        self._process = os.urandom(6).hex()
        self._lock = threading.Lock()
        self._waiting = ""
        self._fault = ""

    def append(self, note: str) -> None:
        with self._lock:
            self._waiting = note
            if self._fault:
                raise Unavailable(self._fault)

    async def mend(self) -> None:
        """A blob is there whole or not at all."""

    async def run(self) -> None:
        """Store what comes; storing is tried again for ever."""
        while True:
            await asyncio.sleep(self._every)
            with suppress(Unavailable):  # `append` tells of it
                await self.flush()

    async def flush(self) -> None:
        with self._lock:
            note = self._waiting
        if not note:
            return
        try:
            await self._blobs.put(f"{self.name}/{self._clock.now():%Y-%m-%d}/{self._process}.note", note.encode())
        except (StanchionError, OSError) as error:
            self._fault = f"checkpoints cannot be stored: {error}"
            raise Unavailable(self._fault) from error
        with self._lock:
            self._fault = ""
            if self._waiting == note:
                self._waiting = ""

    async def notes(self) -> Sequence[str]:
        found = []
        async for name in self._blobs.list(self.name + "/"):
            with suppress(NotFound):
                found.append((await self._blobs.get(name)).decode("utf-8", "replace"))
        return found

    async def close(self) -> None:
        await self.flush()
        await self._blobs.close()
