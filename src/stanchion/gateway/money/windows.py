"""Windows of time, in UTC: hours, days and months of the calendar, and any sixty seconds.

A rolling minute is counted in slices of five seconds. The present slice and the twelve before it hold more than sixty
seconds, so what passes there passes in every sixty seconds between.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from ...core.clock import micros, moment
from ..contract.money import Window

SECOND = 1_000_000
_SLICE = 5 * SECOND
_BEFORE = 12
_LENGTH = {"hour": 3_600 * SECOND, "day": 86_400 * SECOND}


class Span(NamedTuple):
    """Where use is counted at a moment: from `start` to before `end`, together with what `before` it still counts.

    All are microseconds since the epoch.
    """

    start: int
    end: int
    before: tuple[int, ...] = ()

    @property
    def clears(self) -> int:
        """When nothing that is counted now counts any more."""
        return self.end + len(self.before) * (self.end - self.start)


FOREVER = Span(0, 1 << 62)
"""Where calls under way are counted: in no window."""


def span(window: Window | None, now: int) -> Span:
    """The span of a window at that moment; that of calls under way for None."""
    match window:
        case None:
            return FOREVER
        case "minute":
            start = now - now % _SLICE
            return Span(start, start + _SLICE, tuple(start - i * _SLICE for i in range(1, _BEFORE + 1)))
        case "month":
            first = moment(now).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
            return Span(micros(first), micros(_following(first)))
        case _:
            length = _LENGTH[window]
            start = now - now % length
            return Span(start, start + length)


def _following(first: datetime) -> datetime:
    return first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
