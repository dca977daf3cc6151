"""How empty the place is where a row lies, among the rows of late: half-space trees.

Tan, Ting and Liu, "Fast anomaly detection for streaming data" (IJCAI 2011). The trees are drawn once, without any
data; what is learnt is how many rows fell into each of their spaces, in the last whole window and in this one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ....core.errors import Misconfigured
from .detector import Detector, Scorer

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LIGHT = 0.1
"""Share of a window's rows below which a space is not divided further (the paper's size limit)."""


@dataclass(frozen=True, slots=True)
class HalfSpaceTrees(Detector):
    """`ranges` are the columns with their usual least and greatest value. Nothing is said in the first window of rows.

    The score is 1 / (1 + density), where a density of 1 is that of rows spread evenly over the ranges: .5 there, nearly
    0 where rows are usual, nearly 1 where none are.
    """

    ranges: Mapping[str, tuple[float, float]]
    trees: int = 25
    depth: int = 8
    window: int = 250
    threshold: float = 0.9
    seed: int = 7

    def __post_init__(self) -> None:
        if not self.ranges or any(not low < high for low, high in self.ranges.values()):
            raise Misconfigured("half-space trees need columns, each with a least value below its greatest")
        if not (1 <= self.trees <= 200 and 1 <= self.depth <= 12 and 10 <= self.window <= 60_000):
            raise Misconfigured("half-space trees: 1 to 200 trees, depth 1 to 12, a window of 10 to 60,000 rows")

    @property
    def columns(self) -> Sequence[str]:
        return tuple(self.ranges)

    def scorer(self, kept: Any = None) -> Scorer:
        return _Trees(self, kept)


@lru_cache(maxsize=16)
def _drawn(seed: int, trees: int, depth: int, width: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """The column and the place at which each space is halved; space i is divided into 2i + 1 and 2i + 2."""
    import numpy

    chance = numpy.random.default_rng(seed)
    inner = 2**depth - 1
    columns = chance.integers(0, width, size=(trees, inner))
    places = numpy.empty((trees, inner))
    for tree in range(trees):
        centre = chance.random(width)
        reach = 2 * numpy.maximum(centre, 1 - centre)
        low, high = [centre - reach], [centre + reach]
        for space in range(inner):
            column = columns[tree, space]
            middle = (low[space][column] + high[space][column]) / 2
            places[tree, space] = middle
            below, above = high[space].copy(), low[space].copy()
            below[column] = above[column] = middle
            low += [low[space], above]
            high += [below, high[space]]
    return columns, places


class _Trees(Scorer):
    def __init__(self, spec: HalfSpaceTrees, kept: Any) -> None:
        import numpy

        self._spec = spec
        self._columns, self._places = _drawn(spec.seed, spec.trees, spec.depth, len(spec.ranges))
        bounds = numpy.array(list(spec.ranges.values()))
        self._low, self._size = bounds[:, 0], bounds[:, 1] - bounds[:, 0]
        shape = (spec.trees, 2 ** (spec.depth + 1) - 1)
        self._all = numpy.arange(spec.trees)
        if kept is None:
            self._rows, self._windows = 0, 0
            self._before, self._now = numpy.zeros(shape, "<u2"), numpy.zeros(shape, "<u2")
        else:
            self._rows, self._windows, before, now = kept
            self._before = numpy.frombuffer(before, "<u2").reshape(shape).copy()
            self._now = numpy.frombuffer(now, "<u2").reshape(shape).copy()

    def score(self, values: Sequence[float]) -> float | None:
        import numpy

        row = numpy.clip((numpy.array(values) - self._low) / self._size, 0.0, 1.0)
        space = numpy.zeros(self._spec.trees, dtype=int)
        mass = numpy.zeros(self._spec.trees)
        running = numpy.ones(self._spec.trees, dtype=bool)
        for level in range(self._spec.depth + 1):
            found = self._before[self._all, space]
            mass = numpy.where(running, found * 2.0**level, mass)
            running &= found > _LIGHT * self._spec.window
            self._now[self._all, space] += 1
            if level < self._spec.depth:
                right = row[self._columns[self._all, space]] >= self._places[self._all, space]
                space = 2 * space + 1 + right
        ready = self._windows > 0
        self._count()
        return 1 / (1 + float(mass.mean()) / self._spec.window) if ready else None

    def kept(self) -> Any:
        return [self._rows, self._windows, self._before.tobytes(), self._now.tobytes()]

    def _count(self) -> None:
        self._rows += 1
        if self._rows == self._spec.window:
            self._rows, self._windows = 0, self._windows + 1
            self._before, self._now = self._now, self._before * 0
