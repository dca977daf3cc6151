"""A clock that stands still until a test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from stanchion.core.clock import Clock


class FakeClock(Clock):
    """Wall and monotonic time that move together, and only by `advance`."""

    def __init__(self, now: datetime = datetime(2026, 1, 1, tzinfo=UTC), *, monotonic: float = 1_000.0) -> None:
        self._now = now
        self._monotonic = monotonic

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Move both clocks forward. Raises ValueError for a negative number: monotonic time never goes back."""
        if seconds < 0:
            raise ValueError("time does not go back")
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds
