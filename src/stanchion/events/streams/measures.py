"""What is made of a window's rows: counts, sums, means, extremes and numbers of different values, exactly.

Sums are made of whole numbers (fractions count to nine decimal places), so that they are the same in any order and
after any restart, and the same as those of training sets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, assert_never

from ...core.errors import InvalidInput
from ...core.values import Json

Function = Literal["count", "sum", "mean", "min", "max", "distinct"]
PARTS = 1_000_000_000
LARGEST = 1 << 53
_MOST = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Measure:
    """`function` of `column`; without a column a count is of rows. `whole` says that the column holds whole numbers.

    Rows without a value (null or not finite) count for nothing but the count of rows.
    """

    function: Function
    column: str | None = None
    whole: bool = False


Sums = list[Any]
"""The state of one measure: a count; a count, whole and part of a sum; an extreme; or the different values, sorted."""


def fresh(measure: Measure) -> Sums:
    """The state of a window without rows."""
    match measure.function:
        case "count":
            return [0]
        case "sum" | "mean":
            return [0, 0, 0]
        case "min" | "max":
            return [None]
        case "distinct":
            return []
        case _:
            assert_never(measure.function)


def take(measure: Measure, sums: Sums, row: Mapping[str, Json]) -> Sums:
    """The state with one more row. Raises InvalidInput for a number that sums do not take."""
    if measure.column is None:
        return [sums[0] + 1]
    value = _usable(row.get(measure.column))
    return sums if value is None else joined(measure, sums, _alone(measure, value))


def joined(measure: Measure, one: Sums, other: Sums) -> Sums:
    """The state of the rows of both."""
    match measure.function:
        case "count":
            return [one[0] + other[0]]
        case "sum" | "mean":
            parts = (one[1] + other[1]) * PARTS + one[2] + other[2]
            return [one[0] + other[0], *divmod(parts, PARTS)]
        case "min":
            return [min((v for v in (one[0], other[0]) if v is not None), default=None)]
        case "max":
            return [max((v for v in (one[0], other[0]) if v is not None), default=None)]
        case "distinct":
            return sorted({*one, *other})
        case _:
            assert_never(measure.function)


def less(measure: Measure, one: Sums, other: Sums) -> Sums:
    """The state of the rows of the first that are not of the second, which are among them; of a count or a sum."""
    if measure.function == "count":
        return [one[0] - other[0]]
    parts = (one[1] - other[1]) * PARTS + one[2] - other[2]
    return [one[0] - other[0], *divmod(parts, PARTS)]


def told(measure: Measure, sums: Sums) -> Json:
    """The value. An empty window gives 0 for count, sum and distinct, and null else.

    A sum of whole numbers that does not fit in 64 bits is null: exact or not told.
    """
    match measure.function:
        case "count":
            return int(sums[0])
        case "sum":
            return _total(measure, sums)
        case "mean":
            total = _total(measure, sums)
            return None if total is None or not sums[0] else float(total) / sums[0]
        case "min" | "max":
            found: Json = sums[0]
            return found
        case "distinct":
            return len(sums)
        case _:
            assert_never(measure.function)


def _alone(measure: Measure, value: Any) -> Sums:
    match measure.function:
        case "count":
            return [1]
        case "sum" | "mean":
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise InvalidInput(f"{measure.column} is {type(value).__name__}, and no number to be added up")
            if abs(value) > LARGEST:
                raise InvalidInput(f"{measure.column} is {value}; sums take numbers up to 2^53")
            return [1, *divmod(_parts(measure, value), PARTS)]
        case _:
            return [value]


def _parts(measure: Measure, value: float) -> int:
    if measure.whole and isinstance(value, int):
        return value * PARTS
    return math.floor(value * 1e9 + 0.5)


def _total(measure: Measure, sums: Sums) -> float | None:
    if measure.whole:
        return int(sums[1]) if abs(sums[1]) <= _MOST else None
    whole, rest = divmod(abs(sums[1] * PARTS + sums[2]), PARTS)
    found = float(whole) + float(rest) / 1e9
    return -found if sums[1] < 0 else found


def _usable(value: Json) -> Json:
    if isinstance(value, float):
        return value + 0.0 if math.isfinite(value) else None  # zero has one sign
    return value
