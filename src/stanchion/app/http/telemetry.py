"""Telemetry over HTTP; the handlers see the contract only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from pydantic import AwareDatetime

from ...core.context import Context
from ...core.http.routes import Routes, context_of
from ...core.telemetry.contract import Contents, LedgerRow, Minute, Observatory, Span, TraceSummary

Caller = Annotated[Context, Depends(context_of)]
Limit = Annotated[int, Query(ge=1, le=100, description="Most items on the page.")]
Before = Annotated[AwareDatetime | None, Query(description="`next` of the page before; absent for the newest.")]
Filter = Annotated[str | None, Query(max_length=256)]
TraceId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]


@dataclass(frozen=True, slots=True)
class RequestPage:
    """Requests, newest first. `next` is the `before` of the following page, null when nothing is left."""

    items: Sequence[LedgerRow]
    next: datetime | None


@dataclass(frozen=True, slots=True)
class TracePage:
    """Traces, newest first. `next` is the `before` of the following page, null when nothing is left."""

    items: Sequence[TraceSummary]
    next: datetime | None


@dataclass(frozen=True, slots=True)
class RungCount:
    """How many requests one rung answered."""

    subject: str
    version: str
    rung: str
    requests: int


@dataclass(frozen=True, slots=True)
class OverviewBody:
    """The last minutes: totals, the series of points of `step_minutes` each, and who answered."""

    requests: int
    errors: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cost: float
    step_minutes: int
    series: Sequence[Minute]
    rungs: Sequence[RungCount]


@dataclass(frozen=True, slots=True)
class TraceBody:
    """Every kept span of one trace, by start."""

    trace_id: str
    spans: Sequence[Span]


@dataclass(frozen=True, slots=True)
class ContentBody:
    """One kept side of a request, as text."""

    kind: str
    at: datetime
    data: str


def routes(observatory: Observatory, contents: Contents) -> Routes:
    """The `/v1/telemetry` routes."""
    api = APIRouter(prefix="/v1/telemetry", tags=["telemetry"])

    @api.get("/requests", summary="List requests")
    async def requests(
        ctx: Caller,
        before: Before = None,
        limit: Limit = 50,
        route: Filter = None,
        subject: Filter = None,
        outcome: Filter = None,
        search: Filter = None,
    ) -> RequestPage:
        """The tenant's requests from the ledger. `search` is a whole request id or trace id."""
        items = await observatory.requests(
            ctx, before=before, limit=limit, route=route, subject=subject, outcome=outcome, search=search
        )
        return RequestPage(items, items[-1].at if items else None)

    @api.get("/requests/{request_id}/content", summary="Read what was kept of a request")
    async def content(ctx: Caller, request_id: Annotated[str, Path(pattern="^[0-9a-f]{24}$")]) -> list[ContentBody]:
        """Input and output of one request, if capture was on; a right of its own."""
        return [
            ContentBody(item.kind, item.at, item.data.decode("utf-8", "replace"))
            for item in await contents.content(ctx, request_id)
        ]

    @api.get("/overview", summary="Sum up the last minutes")
    async def overview(ctx: Caller, minutes: Annotated[int, Query(ge=1, le=10_080)] = 60) -> OverviewBody:
        """Counts, latencies and cost of the last 1 to 10,080 minutes."""
        found = await observatory.overview(ctx, minutes=minutes)
        given = {field.name: getattr(found, field.name) for field in fields(found)}
        return OverviewBody(**{**given, "rungs": [RungCount(*who, count) for who, count in found.rungs.items()]})

    @api.get("/traces", summary="List sampled traces")
    async def traces(
        ctx: Caller,
        before: Before = None,
        limit: Limit = 50,
        slower_than_ms: Annotated[float, Query(ge=0, le=86_400_000)] = 0,
    ) -> TracePage:
        """The tenant's sampled traces."""
        items = await observatory.traces(ctx, before=before, limit=limit, slower_than_ms=slower_than_ms)
        return TracePage(items, items[-1].started_at if items else None)

    @api.get("/traces/{trace_id}", summary="Read one trace")
    async def trace(ctx: Caller, trace_id: TraceId) -> TraceBody:
        """Every kept span of one trace."""
        return TraceBody(trace_id, await observatory.trace(ctx, trace_id))

    return Routes(api=api)
