"""Which requests keep their spans: a share of all, and a few each second in any case.

A share alone shows nothing on a quiet system; a rate alone hides how often things happen on a busy one.
"""

from __future__ import annotations

from collections.abc import Callable


class RateSampler:
    """Keeps the share `share` of traces by their id, the same on every process, and `per_second` more."""

    def __init__(self, *, share: float, per_second: float, clock: Callable[[], float]) -> None:
        self._below = int(share * 0x1_0000_0000)
        self._per_second, self._most = per_second, max(1.0, per_second)
        self._clock = clock
        self._tokens = per_second
        self._refilled = clock()

    def __call__(self, trace_id: str) -> bool:
        """Whether the trace with this id (hex) keeps its spans."""
        # The last digits are the random ones in every id scheme in use.
        if int(trace_id[-8:], 16) < self._below:
            return True
        now = self._clock()
        tokens = self._tokens + (now - self._refilled) * self._per_second
        self._tokens = tokens if tokens < self._most else self._most
        self._refilled = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
