"""How far a value lies from the median of those before it, in median absolute deviations.

Iglewicz and Hoaglin, "How to detect and handle outliers" (ASQC, 1993): a few outliers among the values before do not
move the measure, as they would move a mean and a standard deviation.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ....core.errors import Misconfigured
from .detector import Detector, Scorer

_NORMAL = 1.4826
"""Median absolute deviations of a normal distribution in its standard deviation."""


@dataclass(frozen=True, slots=True)
class RobustZ(Detector):
    """The modified z-score over the last `memory` values; nothing is said before `warm` of them.

    `least` is the deviation below which values count as constant.
    """

    column: str
    memory: int = 2_000
    threshold: float = 6.0
    warm: int = 300
    least: float = 1e-9

    def __post_init__(self) -> None:
        if not 2 <= self.warm <= self.memory <= 100_000:
            raise Misconfigured("`warm` is at least 2 and at most `memory`, which is at most 100,000")

    @property
    def columns(self) -> Sequence[str]:
        return (self.column,)

    def scorer(self, kept: Any = None) -> Scorer:
        return _RobustZ(self, kept or b"")


class _RobustZ(Scorer):
    """The values are kept as they came and in order: what a value costs hardly grows with the memory."""

    def __init__(self, spec: RobustZ, kept: bytes) -> None:
        self._spec = spec
        self._values: deque[float] = deque(struct.unpack(f"<{len(kept) // 8}d", kept)[-spec.memory :])
        self._order: list[float] = sorted(self._values)

    def score(self, values: Sequence[float]) -> float | None:
        (value,) = values
        found = self._judged(value) if len(self._values) >= self._spec.warm else None
        if len(self._values) == self._spec.memory:
            del self._order[bisect_left(self._order, self._values.popleft())]
        self._values.append(value)
        insort(self._order, value)
        return found

    def _judged(self, value: float) -> float:
        order = self._order
        half, odd = divmod(len(order), 2)
        middle = order[half] if odd else (order[half - 1] + order[half]) / 2
        spread = _NORMAL * _deviation(order, middle)
        return abs(value - middle) / max(spread, self._spec.least)

    def kept(self) -> Any:
        return struct.pack(f"<{len(self._values)}d", *self._values)


def _deviation(order: Sequence[float], middle: float) -> float:
    """The median distance from the middle: distances grow from it to both sides, so it is found by halving."""
    half, odd = divmod(len(order), 2)
    above = _nearest(order, middle, half + 1)
    return above if odd else (_nearest(order, middle, half) + above) / 2


def _nearest(order: Sequence[float], middle: float, number: int) -> float:
    """The distance of the value that is the so manyth nearest to the middle; those nearest lie beside each other."""
    low, high = 0, len(order) - number
    while low < high:
        first = (low + high) // 2
        if middle - order[first] > order[first + number] - middle:
            low = first + 1
        else:
            high = first
    return max(abs(order[low] - middle), abs(order[low + number - 1] - middle))
