"""How far a value lies from the median of those before it, in median absolute deviations.

Iglewicz and Hoaglin, "How to detect and handle outliers" (ASQC, 1993): a few outliers among the values before do not
move the measure, as they would move a mean and a standard deviation.
"""

from __future__ import annotations

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
    def __init__(self, spec: RobustZ, kept: bytes) -> None:
        import numpy

        self._spec = spec
        self._values = deque(numpy.frombuffer(kept, dtype="<f8").tolist(), maxlen=spec.memory)

    def score(self, values: Sequence[float]) -> float | None:
        (value,) = values
        found = self._judged(value) if len(self._values) >= self._spec.warm else None
        self._values.append(value)
        return found

    def _judged(self, value: float) -> float:
        import numpy

        before = numpy.asarray(self._values)
        middle = float(numpy.median(before))
        spread = _NORMAL * float(numpy.median(numpy.abs(before - middle)))
        return abs(value - middle) / max(spread, self._spec.least)

    def kept(self) -> Any:
        import numpy

        return numpy.asarray(self._values, dtype="<f8").tobytes()
