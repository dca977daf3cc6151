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
from .measures import Measure, fresh, over, take

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
    """

    def __init__(self, features: Mapping[str, Rolling], kept: list[Past] | None = None, *, most: int = 1_000) -> None:
        self._features = features
        self._columns = sorted({f.measure.column for f in features.values() if f.measure.column is not None})
        self._most = most
        self.kept = kept if kept is not None else []

    def add(self, at: int, row: Mapping[str, Json]) -> None:
        """One more event, in whatever order they come. Raises InvalidInput for a number that sums do not take."""
        for feature in self._features.values():
            take(feature.measure, fresh(feature.measure), row)
        past = Past(at, [row.get(column) for column in self._columns])
        self.kept.insert(bisect_right(self.kept, at, key=lambda each: each.at), past)

    def read(self, at: int) -> dict[str, Json]:
        """The features as they are at that moment: later events are not in them."""
        end = bisect_right(self.kept, at, key=lambda each: each.at)
        found: dict[str, Json] = {}
        for name, feature in self._features.items():
            first = bisect_left(self.kept, feature.far_end(at), key=lambda each: each.at)
            found[name] = over(feature.measure, self._rows(first, end)) if end - first <= self._most else None
        return found

    def forget(self, before: int) -> None:
        """Drop what no window reaches that is read at `before` or later, and what is beyond the bound."""
        reach = min((feature.far_end(before) for feature in self._features.values()), default=before)
        first = bisect_left(self.kept, reach, key=lambda each: each.at)
        # One more than the bound stays: it is how too many are known to be too many.
        self.kept = self.kept[max(first, len(self.kept) - self._most - 1) :]

    def _rows(self, first: int, end: int) -> Sequence[Mapping[str, Json]]:
        return [dict(zip(self._columns, past.columns, strict=True)) for past in self.kept[first:end]]
