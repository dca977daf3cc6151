"""Features as of each event: sliding windows that end at the event itself, by the definition that training sets have.

Read at time t, a window of length w with hop h holds the events with floor((t - w) / h) * h <= event time <= t.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec

from ...core.errors import Misconfigured
from ...core.values import Json
from .measures import Measure, fresh, take
from .moving import moving

_MICROSECOND = timedelta(microseconds=1)
_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Rolling:
    """`measure` over the last `window`. `hop` is the step of the far end; None: a sixtieth of it in whole seconds."""

    measure: Measure
    window: timedelta
    hop: timedelta | None = None

    def __post_init__(self) -> None:
        if self.window < _MICROSECOND or (self.hop is not None and not timedelta(0) < self.hop <= self.window):
            raise Misconfigured("a rolling window is above zero, and its hop is above zero and at most the window")

    def far_end(self, at: int) -> int:
        """The earliest event time in the window when it is read at `at`."""
        width = self.window // _MICROSECOND
        if self.hop is None:
            step = max(1, (width + 30 * _SECOND) // (60 * _SECOND)) * _SECOND
        else:
            step = max(1, self.hop // _MICROSECOND)
        return (at - width) // step * step


class Past(msgspec.Struct, array_like=True):
    """One event that windows still reach: its time and the columns that are measured."""

    at: int
    columns: list[Any]


class History:
    """The latest events of one key, `kept` by event time, and the features at any moment that they reach.

    `most` bounds them: with more in the longest window its features are null, because windows are exact or not told.
    Moments that are read one after the other cost what has come and gone between them, not what the windows hold.
    """

    def __init__(self, features: Mapping[str, Rolling], kept: list[Past] | None = None, *, most: int = 1_000) -> None:
        self._columns = sorted({f.measure.column for f in features.values() if f.measure.column is not None})
        self._reaches = {name: _Reach(feature, self._columns) for name, feature in features.items()}
        self._most = most
        self.kept = kept if kept is not None else []

    def add(self, at: int, row: Mapping[str, Json]) -> None:
        """One more event, in whatever order they come. Raises InvalidInput for a number that sums do not take."""
        for reach in self._reaches.values():
            measure = reach.feature.measure
            take(measure, fresh(measure), row)
        past = Past(at, [row.get(column) for column in self._columns])
        place = bisect_right(self.kept, at, key=_at)
        self.kept.insert(place, past)
        for reach in self._reaches.values():
            reach.insert(place, past)

    def read(self, at: int) -> dict[str, Json]:
        """The features as they are at that moment: later events are not in them."""
        end = bisect_right(self.kept, at, key=_at)
        found: dict[str, Json] = {}
        for name, reach in self._reaches.items():
            first = bisect_left(self.kept, reach.feature.far_end(at), key=_at)
            # Windows are exact or not told; one that is beyond the bound is not even followed.
            found[name] = reach.move(self.kept, first, end) if end - first <= self._most else None
        return found

    def forget(self, before: int) -> None:
        """Drop what no window reaches that is read at `before` or later, and what is beyond the bound."""
        far = min((reach.feature.far_end(before) for reach in self._reaches.values()), default=before)
        first = bisect_left(self.kept, far, key=_at)
        # One more than the bound stays: it is how too many are known to be too many.
        gone = max(first, len(self.kept) - self._most - 1)
        if gone > 0:
            for reach in self._reaches.values():
                reach.cut(self.kept, gone)
            del self.kept[:gone]


class _Reach:
    """One feature over the events from `first` up to `end`, which it last was read for."""

    def __init__(self, feature: Rolling, columns: Sequence[str]) -> None:
        self.feature = feature
        column = feature.measure.column
        self._column = None if column is None else columns.index(column)
        self._value = moving(feature.measure)
        self._first = self._end = 0

    def move(self, kept: Sequence[Past], first: int, end: int) -> Json:
        """The feature over these events."""
        if first >= self._end or end <= self._first:
            self._value = moving(self.feature.measure)
            self._first = self._end = first
        for past in kept[self._end : end]:
            self._value.come(self._of(past))
        for past in kept[end : self._end]:
            self._value.go(self._of(past))
        for past in kept[self._first : first]:
            self._value.go(self._of(past))
        for past in kept[first : self._first]:
            self._value.come(self._of(past))
        self._first, self._end = first, end
        return self._value.told()

    def insert(self, place: int, past: Past) -> None:
        """An event has taken this place, and those from it on have moved up."""
        if place < self._end:
            if place >= self._first:
                self._value.come(self._of(past))
            else:
                self._first += 1
            self._end += 1

    def cut(self, kept: Sequence[Past], gone: int) -> None:
        """So many of the first events are about to be dropped."""
        for past in kept[self._first : min(gone, self._end)]:
            self._value.go(self._of(past))
        self._first, self._end = max(self._first - gone, 0), max(self._end - gone, 0)

    def _of(self, past: Past) -> Json:
        found: Json = None if self._column is None else past.columns[self._column]
        return found


def _at(past: Past) -> int:
    return past.at
