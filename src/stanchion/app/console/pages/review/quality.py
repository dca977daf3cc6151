"""How good reviews are: agreement, golden items, automation bias, and each reviewer's work."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from .....core.context import Context
from ...assets import BASE
from ...rendering import query
from ...shell import Shell
from .room import door

DAYS = {"7": "7 days", "30": "30 days", "90": "90 days", "": "all that is kept"}
_PEOPLE = 60


async def page(shell: Shell, request: Request, ctx: Context) -> Response:
    """The figures of one queue."""
    content = await _figures(shell, request, ctx)
    live = f"{BASE}/fragments/review-quality{query(queue=content['queue'], days=content['days'])}"
    return shell.page(request, "review_quality.html", **content, ranges=DAYS, live=live)


async def fragment(shell: Shell, request: Request, ctx: Context) -> Response:
    """The figures alone."""
    return shell.fragment(request, "_review_quality.html", **await _figures(shell, request, ctx))


async def _figures(shell: Shell, request: Request, ctx: Context) -> dict[str, Any]:
    reviews = door(shell)
    queues = [each.name for each in await reviews.queues(ctx)]
    asked, days = request.query_params.get("queue", ""), request.query_params.get("days", "30")
    queue = asked if asked in queues else next(iter(queues), "")
    days = days if days in DAYS else "30"
    since = shell.doors.clock.now() - timedelta(days=int(days)) if days else None
    found = await reviews.statistics(ctx, queue, since=since) if queue else None
    entries = {each.principal: each for each in await reviews.reviewers(ctx)}
    return {
        "queues": queues,
        "queue": queue,
        "days": days,
        "figures": found,
        "people": [] if found is None else sorted(found.reviewers, key=lambda each: -each.decisions)[:_PEOPLE],
        "entries": entries,
        "verdicts": _shares(found.verdicts) if found is not None else (),
        "reasons": _shares(found.reasons)[:12] if found is not None else (),
    }


def _shares(counts: Any) -> list[tuple[str, int, float]]:
    """Each name with its number and its share of all, the greatest first."""
    total = sum(counts.values()) or 1
    return [(name, number, number / total) for name, number in sorted(counts.items(), key=lambda pair: -pair[1])]
