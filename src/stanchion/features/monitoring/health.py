"""Counts what is read and written of each view, and judges from it how fresh and how complete the view is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from ...core.clock import Clock, micros
from ..contract import FieldHealth, Vector, ViewHealth
from ..rows import Shape

_HALF_SECONDS = 3600.0
_EACH_CALL = 8
_LATE_SHARE = 0.5
_FEWEST = 8  # reads from which a share says something


class Limits(NamedTuple):
    """The shares above which a field has too many nulls, and a view too few present values."""

    nulls: float = 0.5
    missing: float = 0.2


@dataclass(slots=True)
class _Counts:
    reads: int = 0
    stale: int = 0
    unknown: int = 0
    nulls: dict[str, int] = field(default_factory=dict)


class Observer:
    """Counts reads in two halves of an hour each, so that figures always cover between one hour and two.

    Of a call with many entities it looks at eight, evenly spread.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = clock.monotonic()
        self._now: dict[tuple[str, str], _Counts] = {}
        self._before: dict[tuple[str, str], _Counts] = {}

    def saw(self, tenant: str, shapes: Sequence[Shape], vectors: Sequence[Vector]) -> None:
        """Count vectors that were read."""
        if self._clock.monotonic() - self._since >= _HALF_SECONDS:
            self._turn()
        some = vectors if len(vectors) <= _EACH_CALL else vectors[:: -(-len(vectors) // _EACH_CALL)]
        for shape in shapes:
            counts = self._now.get((tenant, shape.name))
            if counts is None:
                counts = self._now[tenant, shape.name] = _Counts()
            for vector in some:
                counts.reads += 1
                status = vector.status[shape.name]
                if status == "present":
                    values = vector.values
                    # Nulls are few: most vectors are looked through as a whole.
                    for name in shape.features if None in values.values() else ():
                        if values[name] is None:
                            counts.nulls[name] = counts.nulls.get(name, 0) + 1
                elif status == "stale":
                    counts.stale += 1
                else:
                    counts.unknown += 1

    def counts(self, tenant: str, view: str) -> _Counts:
        """The counts of a view over the last hour or two."""
        if self._clock.monotonic() - self._since >= _HALF_SECONDS:
            self._turn()
        halves = [half.get((tenant, view), _Counts()) for half in (self._now, self._before)]
        names = {name for half in halves for name in half.nulls}
        return _Counts(
            sum(half.reads for half in halves),
            sum(half.stale for half in halves),
            sum(half.unknown for half in halves),
            {name: sum(half.nulls.get(name, 0) for half in halves) for name in names},
        )

    def _turn(self) -> None:
        passed = self._clock.monotonic() - self._since
        self._before = self._now if passed < 2 * _HALF_SECONDS else {}
        self._now = {}
        self._since = self._clock.monotonic()


def judged(shape: Shape, counts: _Counts, newest: datetime | None, now: datetime, limits: Limits) -> ViewHealth:
    """The state of a view, with its reason."""
    age = None if newest is None else max(0.0, (micros(now) - micros(newest)) / 1_000_000)
    stale = counts.stale / counts.reads if counts.reads else None
    unknown = counts.unknown / counts.reads if counts.reads else None
    absent = (stale or 0) + (unknown or 0) if counts.reads >= _FEWEST else 0
    state, reason = _state(shape.ttl, age, absent, limits)
    present = counts.reads - counts.stale - counts.unknown
    fields = [
        _field(name, shape.view.fields[name], counts.nulls.get(name, 0), present, limits) for name in shape.features
    ]
    return ViewHealth(
        shape.name, state, reason, newest, age, shape.ttl.total_seconds(), counts.reads, stale, unknown, fields
    )


def _state(
    ttl: timedelta, age: float | None, absent: float, limits: Limits
) -> tuple[Literal["fresh", "late", "stale", "missing", "empty"], str]:
    if age is None:
        return "empty", "nothing was ever written"
    told = f"the newest event is {timedelta(seconds=round(age))} old"
    if age > ttl.total_seconds():
        return "stale", f"{told}, past the time to live of {ttl}"
    if absent > limits.missing:
        return "missing", f"{absent:.0%} of the keys read lately had no present value"
    if age > _LATE_SHARE * ttl.total_seconds():
        return "late", f"{told}, past half the time to live of {ttl}"
    return "fresh", told


def _field(name: str, kind: str, nulls: int, present: int, limits: Limits) -> FieldHealth:
    if not present:
        return FieldHealth(name, kind, None, "unread", "no present value was read lately")
    rate = nulls / present
    if rate > limits.nulls:
        return FieldHealth(name, kind, rate, "nulls", f"{rate:.0%} of its values are null, above {limits.nulls:.0%}")
    return FieldHealth(name, kind, rate, "ok", f"{rate:.0%} of its values are null")
