"""Checkpoints as blobs: a second sink on other ground than the database, such as a bucket with object lock."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

from ...errors import NotFound, StanchionError, Unavailable
from ...storage.contract import Blobs
from .checkpoint import parsed
from .ports import CheckpointSink


class BlobSink(CheckpointSink):
    """Stores the newest checkpoint as `PREFIX/SIZE.note`, at most once in `every` seconds.

    A task group must run `run`: it stores what `append` took. A newer checkpoint covers all older ones, so those that
    come meanwhile are passed over. While storing fails, `append` refuses.
    """

    def __init__(self, blobs: Blobs, *, prefix: str = "audit/checkpoints", every: float = 1.0) -> None:
        self.name = prefix
        self._blobs = blobs
        self._every = every
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
        """Store what comes, until cancelled; storing is tried again for ever."""
        while True:
            await asyncio.sleep(self._every)
            try:
                await self.flush()
            except Unavailable:
                continue  # `append` tells of it

    async def flush(self) -> None:
        with self._lock:
            note = self._waiting
        if not note:
            return
        try:
            await self._blobs.put(f"{self.name}/{parsed(note).size:019d}.note", note.encode())
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
            try:
                found.append((await self._blobs.get(name)).decode("utf-8", "replace"))
            except NotFound:
                continue
        return found

    async def close(self) -> None:
        await self.flush()
