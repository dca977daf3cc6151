"""The first page: how the system does now, who answers, and what needs a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ....core.context import Context
from ....core.telemetry.contract import Overview
from ..assets import BASE
from ..charts import Axis, Chart, Series, bars, lines, sparkline
from ..figures import count, duration, money
from ..rendering import query
from ..shell import Shell
from .attention import attention
from .buckets import Bucket, buckets
from .ledger import is_own, ledger

RANGES: Mapping[int, str] = {15: "15 min", 60: "1 h", 1440: "24 h", 10_080: "7 d"}
_DEFAULT = 60
_MOST_ROUTES = 5
_MOST_ANSWERERS = 8
_RECENT = 8
_LABEL_MINUTES = (2, 5, 10, 15, 30, 60, 180, 240, 360, 1440)
_MOST_LABELS = 7


@dataclass(frozen=True, slots=True)
class Answerer:
    """How many requests one rung of one version answered; share of all that some rung answered."""

    subject: str
    version: str
    rung: str
    count: int
    share: float


async def page(shell: Shell, request: Request, ctx: Context) -> Response:
    """The whole page."""
    return shell.page(request, "overview.html", **await _content(shell, request, ctx))


async def fragment(shell: Shell, request: Request, ctx: Context) -> Response:
    """The part of it that changes by itself."""
    return shell.fragment(request, "_overview.html", **await _content(shell, request, ctx))


async def _content(shell: Shell, request: Request, ctx: Context) -> dict[str, Any]:
    minutes = _minutes(request)
    doors = shell.doors
    seen = await doors.observatory.overview(ctx, minutes=minutes)
    recent = await ledger(shell, ctx, before=None, limit=_RECENT, own=False, asked={})
    now = doors.clock.now()
    points = buckets(seen.series, now=now, minutes=minutes)
    return {
        "minutes": minutes,
        "ranges": RANGES,
        "seen": seen,
        "error_rate": seen.errors / seen.requests if seen.requests else 0.0,
        "sparks": _sparks(points),
        "pictures": _charts(points, minutes),
        "answerers": _answerers(seen),
        "attention": await attention(shell, ctx, now),
        "recent": recent.rows,
        "live": f"{BASE}/fragments/overview{query(minutes=minutes)}",
    }


def _minutes(request: Request) -> int:
    asked = request.query_params.get("minutes", "")
    return int(asked) if asked in map(str, RANGES) else _DEFAULT


def _answerers(seen: Overview) -> list[Answerer]:
    total = sum(seen.rungs.values()) or 1
    most = sorted(seen.rungs.items(), key=lambda item: (-item[1], item[0]))[:_MOST_ANSWERERS]
    return [Answerer(*who, number, number / total) for who, number in most]


def _sparks(points: Sequence[Bucket]) -> dict[str, str]:
    return {
        "requests": sparkline([b.requests for b in points]),
        "latency": sparkline([b.p95_ms for b in points]),
        "errors": sparkline([b.errors for b in points]),
        "cost": sparkline([b.cost for b in points]),
    }


def _charts(points: Sequence[Bucket], minutes: int) -> list[Chart]:
    time = _axis(points, minutes)
    every = points[0].minutes if points else 1
    each = "Each bar is one minute." if every == 1 else f"Each bar is {_length(every)}."
    # A percentile of percentiles would be no percentile: longer stretches show their worst minute.
    worst = "" if every == 1 else f" The worst minute of each {_length(every)}."
    charts = [
        bars(
            "Requests by route",
            time,
            _by_route(points),
            write=count,
            about=each,
        ),
        lines(
            "Latency",
            time,
            [
                Series("p50", [b.p50_ms for b in points]),
                Series("p95", [b.p95_ms for b in points]),
                Series("p99", [b.p99_ms for b in points]),
            ],
            write=duration,
            about=f"Milliseconds.{worst}",
        ),
    ]
    if any(b.cost for b in points):
        charts.append(lines("Cost", time, [Series("Cost", [b.cost for b in points])], write=money, about="US dollars."))
    return charts


def _by_route(points: Sequence[Bucket]) -> list[Series]:
    """The busiest routes, then all others, then the console itself: each as one layer."""
    totals: dict[str, int] = {}
    for bucket in points:
        for route, number in bucket.by_route.items():
            totals[route] = totals.get(route, 0) + number
    asked = sorted((r for r in totals if not is_own(r)), key=lambda route: (-totals[route], route))
    most = _MOST_ROUTES if len(asked) <= _MOST_ROUTES else _MOST_ROUTES - 1
    layers = [(route, frozenset({route})) for route in asked[:most]]
    rest = (("other routes", frozenset(asked[most:])), ("this console", frozenset(totals).difference(asked)))
    layers += [layer for layer in rest if layer[1]]
    return [Series(name, [sum(b.by_route.get(r, 0) for r in routes) for b in points]) for name, routes in layers]


def _axis(points: Sequence[Bucket], minutes: int) -> Axis:
    """Labels at round times: the finest step that gives at most 7 of them, and none at the very edge."""
    long = minutes > 1440
    numbers = [int(b.at.timestamp()) // 60 for b in points]
    step = next((s for s in _LABEL_MINUTES if minutes / s <= _MOST_LABELS), _LABEL_MINUTES[-1])
    edge = len(points) * 0.02
    shown = {
        i: points[i].at.strftime("%d %b" if long else "%H:%M")
        for i, number in enumerate(numbers)
        if number % step == 0 and edge <= i < len(points) - edge
    }
    return Axis([b.at.strftime("%d %b %H:%M" if long else "%H:%M") for b in points], shown)


def _length(minutes: int) -> str:
    return f"{minutes} minutes" if minutes < 60 else "hour" if minutes == 60 else f"{minutes // 60} hours"
