"""Windows of time, in UTC: hours, days and months of the calendar, and any sixty seconds.

A rolling minute is counted in slices of five seconds. The present slice and the twelve before it hold more than sixty
seconds, so what passes there passes in every sixty seconds between. The slice after it counts as well: something may
have been taken for it already, and other machines' clocks may be a little ahead.
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
    """Where use is counted at a moment: from `start` to before `end`, together with the slices `beside` it.

    What is counted here counts until `reach` after its end. All are microseconds, and moments since the epoch.
    """

    start: int
    end: int
    beside: tuple[int, ...] = ()
    reach: int = 0

    @property
    def clears(self) -> int:
        """When nothing that is counted now counts any more."""
        return self.end + self.reach


FOREVER = Span(0, 1 << 62)
"""Where calls under way are counted: in no window."""


def span(window: Window | None, now: int) -> Span:
    """The span of a window at that moment; that of calls under way for None."""
    match window:
        case None:
            return FOREVER
        case "minute":
            start = now - now % _SLICE
            beside = tuple(start + i * _SLICE for i in range(-_BEFORE, 2) if i)
            return Span(start, start + _SLICE, beside, _BEFORE * _SLICE)
        case "month":
            first = moment(now).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
            return Span(micros(first), micros(_following(first)))
        case _:
            length = _LENGTH[window]
            start = now - now % length
            return Span(start, start + length)


def _following(first: datetime) -> datetime:
    return first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
