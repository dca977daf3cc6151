"""How far a slot is done: the position before its first event that is not, however many behind it are."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

from ..keeping.slots import Slot


class Progress:
    """One slot's three lanes in this process."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.read = dict(slot.positions)
        self.running = 0
        self.leaving = False
        self.proved = False
        self._open: dict[int, OrderedDict[int, None]] = {lane: OrderedDict() for lane in slot.positions}

    @property
    def idle(self) -> bool:
        """Whether all that was read is done."""
        return not any(self._open.values())

    def begin(self, lane: int, position: int) -> None:
        """An event has been read and is not done."""
        self._open[lane][position] = None

    def done(self, lane: int, position: int) -> None:
        """The event needs no second reading: it is handled, put back or dead."""
        self._open[lane].pop(position, None)

    def low(self) -> dict[int, int]:
        """The position of each lane up to which everything is done."""
        return {
            lane: next(iter(waiting)) - 1 if waiting else self.read[lane] for lane, waiting in self._open.items()
        }  # fmt: skip

    def snapshot(self) -> Slot | None:
        """The slot with its present positions; None where nothing has moved since the last one."""
        moved, self.proved = self.proved, False
        if moved:
            self.slot.stalls, self.slot.noted = 0, False
        for lane, position in self.low().items():
            if position > self.slot.positions[lane]:
                self.slot.positions[lane] = position
                moved = True
        return replace(self.slot, positions=dict(self.slot.positions)) if moved else None
