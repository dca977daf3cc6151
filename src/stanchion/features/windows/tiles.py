"""Tiles: what a stretch of events adds up to, for each measure of a window, and the sum of several tiles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, assert_never

import msgspec

from ...core.errors import InvalidInput
from ...core.values import Json
from .definition import LARGEST, PARTS, scaled, unscaled
from .plan import Group, Measure
from .values import outer

_MOST = (1 << 63) - 1


class Tile(msgspec.Struct, frozen=True, array_like=True):
    """`events` counts rows, `last` is the latest event time in microseconds, `sums` has one entry for each measure."""

    index: int
    events: int
    last: int
    sums: list[Any]


def summed(group: Group, index: int, rows: Sequence[Sequence[Any]], last: int) -> Tile:
    """The tile of these events' columns. Raises InvalidInput for a number that sums do not take."""
    return Tile(index, len(rows), last, [_sum(measure, rows) for measure in group.measures])


def finished(group: Group, tiles: Sequence[Tile]) -> dict[str, Json]:
    """The fields of a window that holds these tiles."""
    return {
        measure.field: _finish(measure, [tile.sums[position] for tile in tiles], tiles)
        for position, measure in enumerate(group.measures)
    }


def _sum(measure: Measure, rows: Sequence[Sequence[Any]]) -> Any:
    if measure.column is None:
        return None
    values = [row[measure.column] for row in rows if row[measure.column] is not None]
    match measure.function:
        case "count":
            return len(values)
        case "sum" | "mean":
            # Two numbers, because a sum of parts may need more than the 64 bits that are stored.
            return [len(values), *divmod(sum(_parts(measure, value) for value in values), PARTS)]
        case "min":
            return min(values, default=None)
        case "max":
            return max(values, default=None)
        case "distinct":
            return sorted(set(values))
        case _:
            assert_never(measure.function)


def _parts(measure: Measure, value: float) -> int:
    if abs(value) > LARGEST:
        raise InvalidInput(f"{measure.field} is over a column with {value}; sums take numbers up to 2^53")
    return value if isinstance(value, int) and measure.kind == "int" else scaled(value)


def _finish(measure: Measure, sums: Sequence[Any], tiles: Sequence[Tile]) -> Json:
    match measure.function:
        case "count":
            return _number(measure, sum(tile.events for tile in tiles) if measure.column is None else sum(sums))
        case "sum":
            return _number(measure, _total(measure, sums))
        case "mean":
            count = sum(each[0] for each in sums)
            return float(_total(measure, sums)) / count if count else None
        case "min":
            return _least(measure, (each for each in sums if each is not None), least=True)
        case "max":
            return _least(measure, (each for each in sums if each is not None), least=False)
        case "distinct":
            return _number(measure, len({value for each in sums for value in each}))
        case _:
            assert_never(measure.function)


def _total(measure: Measure, sums: Sequence[Any]) -> float:
    parts: int = sum(each[1] for each in sums) * PARTS + sum(each[2] for each in sums)
    if measure.kind == "float":
        return unscaled(parts)
    if abs(parts) > _MOST:
        raise InvalidInput(f"the sum {measure.field} does not fit in 64 bits")
    return parts


def _least(measure: Measure, values: Iterable[Any], *, least: bool) -> Json:
    found = list(values)
    return outer(measure.gives, min(found) if least else max(found)) if found else None


def _number(measure: Measure, value: float) -> Json:
    return float(value) if measure.gives == "float" else value
