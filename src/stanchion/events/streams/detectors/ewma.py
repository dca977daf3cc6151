"""How far a value lies from a moving average, in moving standard deviations.

The chart is Roberts', "Control chart tests based on geometric moving averages" (Technometrics 1, 1959); the moving
variance is Finch's, "Incremental calculation of weighted mean and variance" (Cambridge, 2009).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ....core.errors import Misconfigured
from .detector import Detector, Scorer


@dataclass(frozen=True, slots=True)
class Ewma(Detector):
    """`fast` and `slow` are the weights of a new value in the average and in the variance, above 0 and at most 1.

    Nothing is said before `warm` values. `least` is the standard deviation below which values count as constant.
    """

    column: str
    fast: float = 0.3
    slow: float = 0.001
    threshold: float = 5.0
    warm: int = 300
    least: float = 1e-9

    def __post_init__(self) -> None:
        if not 0 < self.fast <= 1 or not 0 < self.slow <= 1:
            raise Misconfigured("the weights of a moving average are above 0 and at most 1")

    @property
    def columns(self) -> Sequence[str]:
        return (self.column,)

    def scorer(self, kept: Any = None) -> Scorer:
        return _Ewma(self, kept or [0, 0.0, 0.0])


class _Ewma(Scorer):
    def __init__(self, spec: Ewma, kept: list[Any]) -> None:
        self._spec = spec
        self._seen, self._mean, self._variance = kept

    def score(self, values: Sequence[float]) -> float | None:
        (value,) = values
        self._seen += 1
        if self._seen == 1:
            self._mean = value
        off = value - self._mean
        found = abs(off) / max(math.sqrt(self._variance), self._spec.least)
        self._mean += self._spec.fast * off
        # The first values weigh as in a plain mean: with the weight of a long run they would count for ever.
        weight = max(self._spec.slow, 1 / self._seen)
        self._variance = (1 - weight) * (self._variance + weight * off * off)
        return found if self._seen > self._spec.warm else None

    def kept(self) -> Any:
        return [self._seen, self._mean, self._variance]
