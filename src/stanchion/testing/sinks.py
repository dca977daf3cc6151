"""Checkpoints in the process's own memory: for tests and for logs that end with their process."""

from __future__ import annotations

from collections.abc import Sequence

from stanchion.core.security.audit.ports import CheckpointSink


class MemorySink(CheckpointSink):
    """A list of notes, gone with the process."""

    def __init__(self, name: str = "memory") -> None:
        self.name = name
        self._notes: list[str] = []

    def append(self, note: str) -> None:
        self._notes.append(note)

    async def mend(self) -> None:
        """Nothing is ever half-written."""

    async def run(self) -> None:
        """There is nothing to bring anywhere."""

    async def flush(self) -> None:
        """There is no disk."""

    async def notes(self) -> Sequence[str]:
        return list(self._notes)

    async def close(self) -> None:
        """The notes stay readable."""
