"""A plain limit, for what is known to be wrong without any learning: many users from one address, say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .detector import Detector, Scorer


@dataclass(frozen=True, slots=True)
class Limit(Detector):
    """The score is the value itself, and an anomaly from `threshold` on."""

    column: str
    threshold: float

    @property
    def columns(self) -> Sequence[str]:
        return (self.column,)

    def scorer(self, kept: Any = None) -> Scorer:
        return _Limit()


class _Limit(Scorer):
    def score(self, values: Sequence[float]) -> float | None:
        return values[0]

    def kept(self) -> Any:
        return None
