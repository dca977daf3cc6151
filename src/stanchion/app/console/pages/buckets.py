"""Minutes gathered into the points of a chart: every stretch present, at most 96 of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ....core.telemetry.contract import Minute

_MOST = 96
_WIDTHS = (1, 5, 15, 30, 60, 120, 180, 360)


@dataclass(frozen=True, slots=True)
class Bucket:
    """One stretch of `minutes`. Percentiles are those of its worst minute, None where nothing was asked."""

    at: datetime
    minutes: int
    requests: int
    errors: int
    cost: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    by_route: Mapping[str, int]


def buckets(series: Sequence[Minute], *, now: datetime, minutes: int) -> list[Bucket]:
    """The last `minutes` as stretches of equal length, oldest first; a stretch without minutes is all zero."""
    width = next((w for w in _WIDTHS if minutes / w <= _MOST), _WIDTHS[-1])
    number = -(-minutes // width)
    last = int(now.timestamp()) // 60 // width
    held: dict[int, list[Minute]] = {}
    for minute in series:
        held.setdefault(int(minute.at.timestamp()) // 60 // width, []).append(minute)
    return [_bucket(at, width, held.get(at, [])) for at in range(last - number + 1, last + 1)]


def _bucket(at: int, width: int, held: Sequence[Minute]) -> Bucket:
    asked = [m for m in held if m.requests]
    routes: dict[str, int] = {}
    for minute in held:
        for route, number in minute.by_route.items():
            routes[route] = routes.get(route, 0) + number
    return Bucket(
        at=datetime(1970, 1, 1, tzinfo=UTC) + timedelta(minutes=at * width),
        minutes=width,
        requests=sum(m.requests for m in held),
        errors=sum(m.errors for m in held),
        cost=sum(m.cost for m in held),
        p50_ms=max((m.p50_ms for m in asked), default=None),
        p95_ms=max((m.p95_ms for m in asked), default=None),
        p99_ms=max((m.p99_ms for m in asked), default=None),
        by_route=routes,
    )
