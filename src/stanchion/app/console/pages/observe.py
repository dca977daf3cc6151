"""What happened: every request in the ledger, and the traces of those that were sampled."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ....core.context import Context
from ....core.errors import BY_CODE, InvalidInput, NotFound
from ....core.telemetry.contract import Overview
from ..assets import BASE
from ..charts import Waterfall, waterfall
from ..figures import iso
from ..forms import number
from ..rendering import query
from ..shell import Shell
from .ledger import ledger

_LIMIT = 50
_FILTERS = ("route", "subject", "outcome", "search")
_CHOICES_MINUTES = 1440
_MOST_CHOICES = 50


async def requests(shell: Shell, request: Request, ctx: Context) -> Response:
    """The ledger, newest first, 50 a page."""
    content = await _requests(shell, request, ctx)
    seen = await shell.doors.observatory.overview(ctx, minutes=_CHOICES_MINUTES)
    return shell.page(request, "observe.html", outcomes=["ok", *sorted(BY_CODE)], **_choices(seen), **content)


async def requests_fragment(shell: Shell, request: Request, ctx: Context) -> Response:
    """Its rows alone."""
    return shell.fragment(request, "_requests.html", **await _requests(shell, request, ctx))


async def request(shell: Shell, request: Request, ctx: Context) -> Response:
    """One request: its ledger row, and its trace where spans were kept."""
    request_id = request.path_params["request_id"]
    rows = await shell.doors.observatory.requests(ctx, search=request_id, limit=1)
    if not rows:
        raise NotFound(f"no request {request_id!r}", next_step="Observe lists the requests that are kept.")
    try:
        picture: Waterfall | None = waterfall(await shell.doors.observatory.trace(ctx, rows[0].trace_id))
    except NotFound:
        picture = None
    return shell.page(request, "request.html", row=rows[0], picture=picture)


async def traces(shell: Shell, request: Request, ctx: Context) -> Response:
    """Sampled traces, newest first, 50 a page."""
    return shell.page(request, "traces.html", **await _traces(shell, request, ctx))


async def traces_fragment(shell: Shell, request: Request, ctx: Context) -> Response:
    """Their rows alone."""
    return shell.fragment(request, "_traces.html", **await _traces(shell, request, ctx))


async def trace(shell: Shell, request: Request, ctx: Context) -> Response:
    """One trace as a waterfall and as a table."""
    trace_id = request.path_params["trace_id"]
    spans = await shell.doors.observatory.trace(ctx, trace_id)
    rows = await shell.doors.observatory.requests(ctx, search=trace_id, limit=1)
    return shell.page(request, "trace.html", trace_id=trace_id, picture=waterfall(spans), row=rows[0] if rows else None)


async def _requests(shell: Shell, request: Request, ctx: Context) -> dict[str, Any]:
    asked = {name: request.query_params.get(name, "").strip()[:200] for name in _FILTERS}
    before, own = _before(request), request.query_params.get("own") == "show"
    page = await ledger(shell, ctx, before=before, limit=_LIMIT, own=own, asked=asked)
    asked_again = {**asked, "own": "show" if own else None}
    older = query(**asked_again, before=iso(page.older)) if page.older else None
    return {
        "rows": page.rows,
        "asked": asked,
        "own": own,
        "filtered": any(asked.values()),
        "older": f"{BASE}/observe{older}" if older else None,
        "newest": f"{BASE}/observe{query(**asked_again)}" if before else None,
        # Older pages do not change; only the newest one is asked for again.
        "live": None if before else f"{BASE}/fragments/requests{query(**asked_again)}",
    }


async def _traces(shell: Shell, request: Request, ctx: Context) -> dict[str, Any]:
    before = _before(request)
    text = request.query_params.get("slower", "").strip()
    slower = number(text, name="slower", least=0, most=86_400_000) if text else 0.0
    found = await shell.doors.observatory.traces(ctx, before=before, limit=_LIMIT, slower_than_ms=slower)
    found = found[:_LIMIT]
    older = query(slower=text, before=iso(found[-1].started_at)) if len(found) == _LIMIT else None
    return {
        "traces": found,
        "slower": text,
        "longest": max((t.duration_ms for t in found), default=0) or 1,
        "older": f"{BASE}/observe/traces{older}" if older else None,
        "newest": f"{BASE}/observe/traces{query(slower=text)}" if before else None,
        "live": None if before else f"{BASE}/fragments/traces{query(slower=text)}",
    }


def _before(request: Request) -> datetime | None:
    text = request.query_params.get("before")
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput("before is not a moment", next_step="Start again at the newest page.") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


def _choices(seen: Overview) -> dict[str, Any]:
    """Names seen in the last day, offered while a filter is typed."""
    routes = {route for minute in seen.series for route in minute.by_route}
    subjects = {subject for subject, _, _ in seen.rungs if subject}
    return {"routes": sorted(routes)[:_MOST_CHOICES], "subjects": sorted(subjects)[:_MOST_CHOICES]}
