"""What the audit log needs from outside: something that signs, and places for checkpoints outside the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class NoteSigner(Protocol):
    """An Ed25519 key that lives outside the database."""

    @property
    def public(self) -> bytes:
        """The raw public key, 32 bytes."""
        ...

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature of exactly these bytes. Called from the database's writer thread."""
        ...


class CheckpointSink(Protocol):
    """Keeps signed checkpoints, in any order; several processes may append to one place.

    Whoever can change the database should not be able to change the sink: that is what it is for.
    """

    name: str  # what people call this sink in faults; unique among the sinks of a log

    def append(self, note: str) -> None:
        """Take one signed note. Called from any thread; must be quick.

        Raises Unavailable if it, or an earlier one, could not be kept. May be given the same note again.
        """
        ...

    async def mend(self) -> None:
        """Remove what a crash left half-written, before the first append of a process."""
        ...

    async def run(self) -> None:
        """Store in the background what was taken, until cancelled; returns at once where there is nothing to do."""
        ...

    async def flush(self) -> None:
        """Return once every note taken is durable. Raises Unavailable."""
        ...

    async def notes(self) -> Sequence[str]:
        """Every note kept, as it lies there, damaged ones too; empty where the sink does not exist.

        Raises Unavailable if the sink cannot be read.
        """
        ...

    async def close(self) -> None:
        """Make the notes durable and release the place."""
        ...
