"""A task that one process of the system does at a time, shared out like a consumer's slot."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ...core.clock import Clock
from ..keeping.slots import HOUSE, Consumer, Slot
from .progress import Progress


class Post:
    """Held by whoever holds its first slot. The dash tells its name from those of consumers."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.consumer = Consumer(HOUSE, f"-{name}")
        self.slots: dict[int, Progress] = {}
        self.until = 0.0
        self.holders = 0
        self._clock = clock

    @property
    def mine(self) -> bool:
        """Whether it is this process's task now."""
        return 0 in self.slots and self._clock.monotonic() < self.until

    async def take(self, slots: Sequence[Slot]) -> None:
        """Hold these."""
        self.slots.update({slot.number: Progress(slot) for slot in slots})

    def drop(self, numbers: Collection[int]) -> None:
        """Hold these no more."""
        for number in numbers:
            self.slots.pop(number, None)

    def leave(self, numbers: Collection[int]) -> Sequence[Progress]:
        """All can be given back at once."""
        return [self.slots[number] for number in numbers]

    def snapshots(self) -> Sequence[Slot]:
        """There are no positions."""
        return ()

    def stir(self) -> None:
        """Nothing waits."""
