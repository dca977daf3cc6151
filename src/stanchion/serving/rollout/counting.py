"""What one process has seen of a rollout: totals by arm, cheap enough for every call."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import log, log2

from ...core.values import Json

SECONDS, VALUES = 112, 32
_LEAST = 1e-5
_SHARES = 20
_MOST_UNITS = 100_000


def seconds_bin(seconds: float) -> int:
    """The bin of a duration: four to each doubling, from 10 microseconds on."""
    return min(SECONDS - 1, int(4 * log2(seconds / _LEAST))) if seconds > _LEAST else 0


def seconds_edge(bin_: int) -> float:
    """The least seconds of a bin."""
    return float(_LEAST * 2 ** (bin_ / 4)) if bin_ else 0.0


def figure(values: Mapping[str, Json]) -> Json:
    """The one value of an answer that is compared: the probability, else the first number, else the first text."""
    found = values.get("probability")
    if found is not None:
        return found
    for value in values.values():
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
    return next((value for value in values.values() if isinstance(value, str | bool)), None)


def value_bin(value: Json) -> int | None:
    """The bin of an answer's value: twenty for 0 to 1 and for texts, the others by size; None for no value."""
    if isinstance(value, str):
        return zlib.crc32(value.encode()) % _SHARES
    if not isinstance(value, int | float):
        return None
    if 0 <= value <= 1:
        return min(_SHARES - 1, int(value * _SHARES))
    # Half of the other bins for each sign, by the power of two.
    if value < 0:
        return _SHARES + min(5, int(log2(1 - value)) // 4)
    return _SHARES + 6 + min(5, int(log2(value)) // 4) if value > 1 else None


@dataclass(slots=True)
class Tally:
    """Totals of one arm in one step. Only calls that the first rung answered are timed."""

    requests: int = 0
    failures: int = 0
    timed: int = 0
    log_seconds: float = 0.0
    log_squares: float = 0.0
    compared: int = 0
    disagreements: int = 0
    difference: float = 0.0
    dropped: int = 0
    seconds: list[int] = field(default_factory=lambda: [0] * SECONDS)
    values: list[int] = field(default_factory=lambda: [0] * VALUES)
    units: set[int] = field(default_factory=set)
    requested: int = 0
    changed: bool = True

    def failed(self) -> None:
        """Count a call that the first rung did not answer."""
        self.requests += 1
        self.failures += 1
        self.changed = True

    def answered(self, seconds: float, values: Mapping[str, Json]) -> None:
        """Count a call that it did."""
        self.requests += 1
        self.timed += 1
        self.changed = True
        logarithm = log(max(seconds, _LEAST))
        self.log_seconds += logarithm
        self.log_squares += logarithm * logarithm
        self.seconds[seconds_bin(seconds)] += 1
        place = value_bin(figure(values))
        if place is not None:
            self.values[place] += 1

    @property
    def different(self) -> int:
        """How many units were sent here."""
        return self.requested + len(self.units)

    def unit(self, unit: str | None) -> bool:
        """Count a unit that was sent here, once; None is a request, which never comes again. Whether there was room."""
        if unit is None:
            self.requested += 1
            return True
        self.units.add(hash(unit))
        return len(self.units) < _MOST_UNITS
