"""The circuit breaker of one model, which hears of a stream twice: at its first event, and when it breaks later."""

from __future__ import annotations

from ...core.errors import StanchionError
from ...core.resilience import Breaker, Permit


class ModelBreaker(Breaker):
    """A breaker that can be told of a call after it was told of its success."""

    def broke(self, error: StanchionError) -> None:
        """A stream that had begun well did not come to its end. It counts at once, whatever share is let through now:
        else an upstream that breaks every stream would be given all its traffic back.
        """
        self.fail(Permit(self._generation, self._clock.monotonic()), error)
