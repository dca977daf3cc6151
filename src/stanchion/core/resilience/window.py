"""Counts over the last seconds in constant time and space: what breakers and retry budgets decide on."""

from __future__ import annotations

SLICES = 10


class Window:
    """`kinds` counters over a sliding window, kept in ten slices; it covers 0.9 to 1.0 of `seconds`.

    Times are monotonic seconds and come from the caller, so that one clock reading serves a whole decision.
    """

    __slots__ = ("_edge", "_kinds", "_slices", "_slot", "_width", "totals")

    def __init__(self, seconds: float, *, kinds: int, now: float) -> None:
        self._width = seconds / SLICES
        self._kinds = kinds
        self.clear(now)

    def clear(self, now: float) -> None:
        """Forget everything."""
        self.totals = [0] * self._kinds
        self._slices = [[0] * self._kinds for _ in range(SLICES)]
        self._slot = int(now / self._width)
        self._edge = (self._slot + 1) * self._width

    def add(self, now: float, kind: int) -> None:
        """Count one of `kind`."""
        if now >= self._edge:
            self.roll(now)
        self._slices[self._slot % SLICES][kind] += 1
        self.totals[kind] += 1

    def roll(self, now: float) -> None:
        """Drop what is older than the window, so that `totals` holds at `now`."""
        slot = int(now / self._width)
        for passed in range(self._slot + 1, min(slot, self._slot + SLICES) + 1):
            old = self._slices[passed % SLICES]
            for kind in range(self._kinds):
                self.totals[kind] -= old[kind]
                old[kind] = 0
        self._slot = max(slot, self._slot)
        self._edge = (self._slot + 1) * self._width
