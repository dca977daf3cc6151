"""Whether probabilities mean what they say: observed rate against predicted probability, bin by bin."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SIDE = 240
_MOST_BINS = 20


@dataclass(frozen=True, slots=True)
class ReliabilityPoint:
    """One bin: mean predicted probability, observed rate, rows in it; x, y and radius in the picture."""

    predicted: float
    observed: float
    rows: int
    x: float
    y: float
    radius: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """The curve, its points, and the gap: mean absolute difference weighted by rows (expected calibration error)."""

    points: Sequence[ReliabilityPoint]
    path: str
    gap: float


def reliability(found: object) -> Reliability | None:
    """The picture of calibration bins, or None if there are none that can be read.

    What is found is free-form: bins are objects with predicted, observed and rows, and others are passed over.
    """
    bins = [b for b in map(_bin, found[:_MOST_BINS]) if b is not None] if isinstance(found, list) else []
    if not bins:
        return None
    bins.sort()
    largest = max(rows for _, _, rows in bins)
    points = [
        ReliabilityPoint(p, o, n, p * SIDE, SIDE - o * SIDE, 2.5 + 4.5 * math.sqrt(n / largest)) for p, o, n in bins
    ]
    path = "M" + "L".join(f"{p.x:.1f} {p.y:.1f}" for p in points)
    total = sum(p.rows for p in points)
    return Reliability(points, path, sum(p.rows * abs(p.predicted - p.observed) for p in points) / total)


def _bin(entry: object) -> tuple[float, float, int] | None:
    if not isinstance(entry, Mapping):
        return None
    predicted, observed, rows = entry.get("predicted"), entry.get("observed"), entry.get("rows", 1)
    numbers = [v for v in (predicted, observed, rows) if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < 3 or not (0 <= numbers[0] <= 1 and 0 <= numbers[1] <= 1 and 1 <= numbers[2] < math.inf):
        return None
    return float(numbers[0]), float(numbers[1]), int(numbers[2])
