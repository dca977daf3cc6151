"""Which stretches of event time an event belongs to. Times are microseconds since the epoch; ends are exclusive."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from ...core.errors import Misconfigured

_MICROSECOND = timedelta(microseconds=1)
_MOST = 1_000


class Span(NamedTuple):
    """`start` <= event time < `end`."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Tumbling:
    """Stretches of one size, one behind the other, aligned to the epoch plus `offset`."""

    size: timedelta
    offset: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        _positive(size=self.size)

    def spans(self, at: int) -> list[Span]:
        """The one stretch that holds the moment."""
        return _aligned(at, self.size, self.size, self.offset)


@dataclass(frozen=True, slots=True)
class Sliding:
    """Stretches of one size of which one begins `every` so often: each event lies in several. At most 1,000."""

    size: timedelta
    every: timedelta
    offset: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        _positive(size=self.size, every=self.every)
        if self.every > self.size:
            raise Misconfigured("a sliding window begins at least once in its size: events between would be lost")
        if self.size / self.every > _MOST:
            raise Misconfigured(f"each event would lie in more than {_MOST:,} windows", next_step="Raise `every`.")

    def spans(self, at: int) -> list[Span]:
        """Every stretch that holds the moment, the earliest first."""
        return _aligned(at, self.size, self.every, self.offset)


@dataclass(frozen=True, slots=True)
class Session:
    """Stretches without a pause: events of a key less than `gap` apart are of one session, which ends `gap` after."""

    gap: timedelta

    def __post_init__(self) -> None:
        _positive(gap=self.gap)

    def spans(self, at: int) -> list[Span]:
        """The session that the event would be alone; those that overlap are one."""
        return [Span(at, at + self.gap // _MICROSECOND)]


Windows = Tumbling | Sliding | Session


def _aligned(at: int, size: timedelta, every: timedelta, offset: timedelta) -> list[Span]:
    width, step, shift = size // _MICROSECOND, every // _MICROSECOND, offset // _MICROSECOND
    # Division floors in Python, so moments before 1970 are aligned as those after it are.
    last = (at - shift) // step * step + shift
    first = last - (width - 1 - (at - last)) // step * step
    return [Span(start, start + width) for start in range(first, last + 1, step)]


def _positive(**given: timedelta) -> None:
    for name, value in given.items():
        if value < _MICROSECOND:
            raise Misconfigured(f"the {name} of a window must be above zero")
