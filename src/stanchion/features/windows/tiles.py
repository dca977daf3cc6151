"""Tiles: what a stretch of events adds up to, for each measure of a window, and the sum of several tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, assert_never

import msgspec

from ...core.errors import InvalidInput
from ...core.values import Json
from .definition import LARGEST, PARTS, scaled, unscaled
from .plan import Group, Measure
from .values import outer

_MOST = (1 << 63) - 1


class Tile(msgspec.Struct, frozen=True, gc=False):
    """`events` counts rows, `last` is the latest event time in microseconds, `sums` has the columns of each measure."""

    index: int
    events: int
    last: int
    sums: Sequence[Any]


class Tiles(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The tiles of one window in the order of time, as they are stored: by column, so that readers add up columns."""

    indexes: list[int]
    events: list[int]
    lasts: list[int]
    sums: list[list[Any]]

    def rows(self) -> list[Tile]:
        """The same tile by tile."""
        sums = list(zip(*self.sums, strict=True)) or [()] * len(self.indexes)
        return [Tile(*row) for row in zip(self.indexes, self.events, self.lasts, sums, strict=True)]


class Window:
    """Makes and reads the tiles of one window; which columns a measure has is worked out once."""

    def __init__(self, group: Group) -> None:
        self._measures = group.measures
        self._steps: list[tuple[str, Callable[[Tiles, int], Json]]] = []
        self._width = 0
        for measure in group.measures:
            self._steps.append((measure.field, _finish(measure, self._width)))
            self._width += _columns(measure)

    def summed(self, index: int, rows: Sequence[Sequence[Any]], last: int) -> Tile:
        """The tile of these events' columns. Raises InvalidInput for a number that sums do not take."""
        return Tile(index, len(rows), last, [each for measure in self._measures for each in _sums(measure, rows)])

    def packed(self, tiles: Sequence[Tile]) -> Tiles:
        """The tiles as they are stored."""
        sums = [[tile.sums[column] for tile in tiles] for column in range(self._width)]
        return Tiles(
            [tile.index for tile in tiles], [tile.events for tile in tiles], [tile.last for tile in tiles], sums
        )

    def finished(self, tiles: Tiles, first: int) -> dict[str, Json]:
        """The fields of a window that holds the tiles from `first` on. Raises InvalidInput for too large a sum."""
        return {field: finish(tiles, first) for field, finish in self._steps}


def _columns(measure: Measure) -> int:
    if measure.column is None:
        return 0
    return 3 if measure.function in ("sum", "mean") else 1


def _sums(measure: Measure, rows: Sequence[Sequence[Any]]) -> Sequence[Any]:
    if measure.column is None:
        return ()
    values = [row[measure.column] for row in rows if row[measure.column] is not None]
    match measure.function:
        case "count":
            return (len(values),)
        case "sum" | "mean":
            # Two numbers, because a sum of parts may need more than the 64 bits that are stored.
            return (len(values), *divmod(sum(_parts(measure, value) for value in values), PARTS))
        case "min":
            return (min(values, default=None),)
        case "max":
            return (max(values, default=None),)
        case "distinct":
            return (sorted(set(values)),)
        case _:
            assert_never(measure.function)


def _parts(measure: Measure, value: float) -> int:
    if abs(value) > LARGEST:
        raise InvalidInput(f"{measure.field} is over a column with {value}; sums take numbers up to 2^53")
    return value if isinstance(value, int) and measure.kind == "int" else scaled(value)


def _finish(measure: Measure, column: int) -> Callable[[Tiles, int], Json]:
    """The function that adds up a measure, whose columns begin at `column`, over the tiles from a place on."""
    match measure.function:
        case "count":
            told = float if measure.gives == "float" else int
            if measure.column is None:
                return lambda tiles, first: told(sum(tiles.events[first:]))
            return lambda tiles, first: told(sum(tiles.sums[column][first:]))
        case "sum":
            return lambda tiles, first: _number(measure, _total(measure, tiles.sums, column, first))
        case "mean":
            return partial(_mean, measure, column)
        case "min" | "max":
            return partial(_extreme, measure, column, min if measure.function == "min" else max)
        case "distinct":
            return lambda tiles, first: _number(measure, len(set().union(*tiles.sums[column][first:])))
        case _:
            assert_never(measure.function)


def _total(measure: Measure, sums: Sequence[Sequence[int]], column: int, first: int) -> float:
    parts = sum(sums[column + 1][first:]) * PARTS + sum(sums[column + 2][first:])
    if measure.kind == "float":
        return unscaled(parts)
    if abs(parts) > _MOST:
        raise InvalidInput(f"the sum {measure.field} does not fit in 64 bits")
    return parts


def _mean(measure: Measure, column: int, tiles: Tiles, first: int) -> Json:
    count = sum(tiles.sums[column][first:])
    return float(_total(measure, tiles.sums, column, first)) / count if count else None


def _extreme(measure: Measure, column: int, extreme: Callable[[list[Any]], Any], tiles: Tiles, first: int) -> Json:
    found = tiles.sums[column][first:]
    if None in found:
        found = [value for value in found if value is not None]
    return outer(measure.gives, extreme(found)) if found else None


def _number(measure: Measure, value: float) -> Json:
    return float(value) if measure.gives == "float" else value
