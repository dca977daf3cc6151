"""The value of a measure over rows that come and go: each costs the same, however many there are."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from typing import Any, Protocol

from ...core.values import Json
from .measures import Measure, Sums, fresh, less, take, told


class Moving(Protocol):
    """A measure of the rows that are in and have not gone out again; rows are told by their value in its column."""

    def come(self, value: Json) -> None:
        """One more row. Raises InvalidInput for a number that sums do not take."""
        ...

    def go(self, value: Json) -> None:
        """A row that had come is no longer in."""
        ...

    def told(self) -> Json:
        """The value, as `measures.told` has it."""
        ...


def moving(measure: Measure) -> Moving:
    """The measure without rows."""
    match measure.function:
        case "min" | "max":
            return _Extreme(measure)
        case "distinct":
            return _Distinct(measure)
        case _:
            return _Sum(measure)


class _Sum:
    """Sums are of whole numbers, so what is taken away leaves nothing behind."""

    def __init__(self, measure: Measure) -> None:
        self._measure, self._column = measure, measure.column or ""
        self._sums = fresh(measure)

    def come(self, value: Json) -> None:
        self._sums = take(self._measure, self._sums, {self._column: value})

    def go(self, value: Json) -> None:
        gone = take(self._measure, fresh(self._measure), {self._column: value})
        self._sums = less(self._measure, self._sums, gone)

    def told(self) -> Json:
        return told(self._measure, self._sums)


class _Extreme:
    """An extreme that goes uncovers the next: all values are kept, in order."""

    def __init__(self, measure: Measure) -> None:
        self._measure = measure
        self._values: list[Any] = []

    def come(self, value: Json) -> None:
        for each in _alone(self._measure, value):
            insort(self._values, each)

    def go(self, value: Json) -> None:
        for each in _alone(self._measure, value):
            del self._values[bisect_left(self._values, each)]

    def told(self) -> Json:
        if not self._values:
            return None
        found: Json = self._values[0 if self._measure.function == "min" else -1]
        return found


class _Distinct:
    """Each value with the number of its rows."""

    def __init__(self, measure: Measure) -> None:
        self._measure = measure
        self._rows: Counter[Any] = Counter()

    def come(self, value: Json) -> None:
        self._rows.update(_alone(self._measure, value))

    def go(self, value: Json) -> None:
        for each in _alone(self._measure, value):
            self._rows[each] -= 1
            if not self._rows[each]:
                del self._rows[each]

    def told(self) -> Json:
        return len(self._rows)


def _alone(measure: Measure, value: Json) -> Sums:
    """The row's value by itself; nothing where it counts for nothing."""
    found = take(measure, fresh(measure), {measure.column or "": value})
    return [each for each in found if each is not None]
