"""Cause and effect: all that came of one first event, how long each hop took, and what is stuck."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from .....core.clock import micros
from .....core.context import Context
from .....core.errors import NotFound
from .....core.telemetry.contract import Span
from .....events import Handling, Hop
from ...assets import BASE
from ...charts import Waterfall, waterfall
from ...shell import Shell
from .room import HOME, door

_HOPS = 60
_DEEPEST = 6
# Handlers mostly answer within seconds: an event without any handling after this long deserves a look.
_LATE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Branch:
    """One event of the tree. `gap_ms` is from its cause to it; `stuck` says what keeps it, empty if nothing does."""

    hop: Hop
    depth: int
    gap_ms: float | None
    stuck: str
    handled: Sequence[Handling]


async def page(shell: Shell, request: Request, ctx: Context) -> Response:
    """The tree of `?id=`, the id of the first event or of the correlation; without one, a field for it."""
    name = request.query_params.get("id", "").strip()[:500]
    if not name:
        return shell.page(request, "tree.html", asked="", error=None, live=None)
    try:
        content = await grown(shell, ctx, name)
    except NotFound as error:
        return shell.page(request, "tree.html", asked=name, error=error, live=None)
    live = f"{BASE}/fragments/events/tree/{quote(name, safe='')}"
    return shell.page(request, "tree.html", asked=name, error=None, live=live, **content)


async def fragment(shell: Shell, request: Request, ctx: Context) -> Response:
    """The tree as it is by now."""
    return shell.fragment(request, "_tree.html", **await grown(shell, ctx, request.path_params["id"]))


async def grown(shell: Shell, ctx: Context, name: str) -> dict[str, Any]:
    """What the templates of a tree are given. Raises NotFound."""
    hops = await door(shell).tree(ctx, name)
    branches = branches_of(hops, shell.doors.clock.now())
    return {
        "branches": branches[:_HOPS],
        "left_out": max(0, len(branches) - _HOPS),
        "stuck": [branch for branch in branches if branch.stuck],
        "picture": picture(hops),
        "home": HOME,
    }


def branches_of(hops: Sequence[Hop], now: datetime) -> list[Branch]:
    """The events, causes before their consequences, each under its cause."""
    by_id = {hop.id: hop for hop in hops}
    children: dict[str, list[Hop]] = {}
    for hop in hops:
        children.setdefault(hop.cause if hop.cause in by_id and hop.cause != hop.id else "", []).append(hop)
    made: list[Branch] = []
    seen: set[str] = set()
    stack = [(hop, 0) for hop in reversed(children.get("", ()))]
    while stack:
        hop, depth = stack.pop()
        if hop.id in seen:
            continue
        seen.add(hop.id)
        cause = by_id.get(hop.cause)
        gap = (hop.published - cause.published).total_seconds() * 1000 if cause is not None else None
        made.append(Branch(hop, min(depth, _DEEPEST), gap, _stuck(hop, now), hop.handled))
        stack += [(child, depth + 1) for child in reversed(children.get(hop.id, ()))]
    return made


def _stuck(hop: Hop, now: datetime) -> str:
    for handling in hop.handled:
        if handling.state == "dead":
            return f"{handling.consumer} gave it up after {handling.attempts} attempts"
        if handling.state == "waiting":
            return f"{handling.consumer} waits to try it again"
    if not hop.handled and now - hop.published > _LATE:
        return "nobody has handled it"
    return ""


def picture(hops: Sequence[Hop]) -> Waterfall:
    """The tree on one clock: a bar is from publication to the end of the last handling."""
    return waterfall(
        [
            Span(
                trace_id="",
                span_id=hop.id,
                parent_id=hop.cause or None,
                name=hop.type,
                started_at=micros(hop.published),
                ended_at=micros(max((each.at for each in hop.handled), default=hop.published)),
                status="error" if any(each.state != "done" for each in hop.handled) else "ok",
                attributes={},
            )
            for hop in hops
        ]
    )
