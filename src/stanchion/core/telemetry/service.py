"""Reads of the ledger, its rollups and the spans, always within the caller's tenant."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import RowMapping, Select, and_, func, select

from ..clock import Clock, micros, moment
from ..context import Context
from ..errors import InvalidInput, NotFound
from ..storage.contract import Database
from .contract import LedgerRow, Minute, Observatory, Overview, Span, TraceSummary
from .histogram import BUCKETS, percentile
from .metrics import Metrics
from .rollup import MINUTE, OTHER
from .tables import ledger, ledger_minutes, spans

_MOST = 100
_WEEK = 10_080
_POINTS = 200
# Each divides the next, and points begin at its multiples, so that who draws wider ones can add them up.
_STEPS = (1, 5, 15, 30, 60)
_ROUTES = 20
# Whoever watches or probes a system would otherwise see mostly the own watching and probing.
_OPERATIONS = ("/console", "/docs", "/healthz", "/metrics", "/openapi.json", "/readyz", "/v2/health", "unmatched")
_SPANS = 2_000
_TRACE_ID = 32
_m = ledger_minutes.c
_REQUESTS = func.sum(_m.requests).label("requests")
_SUMS = (
    _REQUESTS,
    func.sum(sa.case((_m.outcome != "ok", _m.requests), else_=0)).label("errors"),
    func.sum(_m.cost).label("cost"),
    *(func.sum(_m[f"b{i}"]).label(f"b{i}") for i in range(BUCKETS)),
)


class TelemetryService(Observatory):
    """The observatory over the telemetry tables."""

    def __init__(self, database: Database, clock: Clock, metrics: Metrics) -> None:
        self._database = database
        self._clock = clock
        self._metrics = metrics

    async def metrics(self, ctx: Context) -> str:
        return self._metrics.render()[0].decode()

    async def requests(
        self,
        ctx: Context,
        *,
        before: datetime | None = None,
        limit: int = 50,
        route: str | None = None,
        subject: str | None = None,
        outcome: str | None = None,
        search: str | None = None,
    ) -> Sequence[LedgerRow]:
        _check(limit, 1, _MOST, "limit")
        c = ledger.c
        wanted = [c.tenant == ctx.tenant]
        wanted += [column == value for column, value in ((c.route, route), (c.subject, subject)) if value is not None]
        if outcome is not None:
            wanted.append(c.outcome == outcome)
        if search is not None:
            # Looked up apart: to have the order for nothing SQLite would walk all rows of the tenant instead.
            named = ledger.alias()
            id_column = named.c.trace_id if len(search) == _TRACE_ID else named.c.request_id
            wanted.append(c.id.in_(select(named.c.id).where(id_column == search)))
        query = select(*(c[f.name] for f in fields(LedgerRow))).where(*wanted)
        rows = await self._database.read(lambda connection: _page(connection, query, c.at, before, limit))
        return [LedgerRow(**{**row, "at": moment(row["at"])}) for row in rows]

    async def overview(self, ctx: Context, *, minutes: int = 60) -> Overview:
        _check(minutes, 1, _WEEK, "minutes")
        last = micros(self._clock.now()) // MINUTE
        return await self._database.read(lambda connection: _overview(connection, ctx.tenant, last, minutes))

    async def traces(
        self, ctx: Context, *, before: datetime | None = None, limit: int = 50, slower_than_ms: float = 0
    ) -> Sequence[TraceSummary]:
        _check(limit, 1, _MOST, "limit")
        query = _roots(ctx.tenant, slower_than_ms)
        rows = await self._database.read(lambda connection: _page(connection, query, spans.c.started_at, before, limit))
        return [TraceSummary(**{**row, "started_at": moment(row["started_at"])}) for row in rows]

    async def trace(self, ctx: Context, trace_id: str) -> Sequence[Span]:
        c = spans.c
        named = select(*(c[field.name] for field in fields(Span))).where(c.tenant == ctx.tenant, c.trace_id == trace_id)
        query = named.order_by(c.started_at, c.id).limit(_SPANS)
        rows = await self._database.read(lambda connection: connection.execute(query).mappings().all())
        if not rows:
            raise NotFound("no spans are kept of this trace", next_step="Only sampled traces have spans.")
        return [Span(**{**row, "attributes": json.loads(row["attributes"])}) for row in rows]


def _check(value: int, least: int, most: int, name: str) -> None:
    if not least <= value <= most:
        raise InvalidInput(f"{name} must be from {least} to {most}, not {value}")


def _page(
    connection: sa.Connection, query: Select[Any], time: sa.Column[int], before: datetime | None, limit: int
) -> Sequence[RowMapping]:
    """The newest rows before a moment. A page never ends between two of the same microsecond: the next begins there."""
    if before is not None:
        query = query.where(time < micros(before))
    rows = connection.execute(query.order_by(time.desc()).limit(limit + 1)).mappings().all()
    if len(rows) <= limit:
        return rows
    cut = rows[limit][time.name]
    whole = [row for row in rows if row[time.name] > cut]
    return whole or connection.execute(query.where(time == cut).limit(_MOST)).mappings().all()


def _roots(tenant: str, slower_than_ms: float) -> Select[Any]:
    """The first span of each trace in this database, and how many spans the trace holds."""
    s, other = spans.c, spans.alias()
    same = and_(other.c.tenant == s.tenant, other.c.trace_id == s.trace_id)
    count = select(func.count()).select_from(other).where(same).scalar_subquery()
    earlier = sa.tuple_(other.c.started_at, other.c.id) < sa.tuple_(s.started_at, s.id)
    # A caller may send many requests with one trace id.
    preceded = select(other.c.id).where(same, earlier, _is_first(other)).exists()
    duration = ((s.ended_at - s.started_at) / 1000.0).label("duration_ms")
    summary = (s.trace_id, s.name, s.started_at, s.status, duration, count.label("spans"))
    slow = s.ended_at - s.started_at >= int(slower_than_ms * 1000)
    return select(*summary).where(s.tenant == tenant, slow, _is_first(spans), ~preceded)


def _is_first(table: sa.FromClause) -> sa.ColumnElement[bool]:
    """Whether a span began its trace here: another process's first span has a parent that may be stored here, too."""
    span, parent = table.c, spans.alias()
    same = (parent.c.tenant == span.tenant, parent.c.trace_id == span.trace_id)
    above = select(parent.c.id).where(*same, parent.c.span_id == span.parent_id).correlate(table).exists()
    return and_(span.root.is_(True), ~above)


def _overview(connection: sa.Connection, tenant: str, last: int, minutes: int) -> Overview:
    first, step = last - minutes + 1, next(s for s in _STEPS if minutes <= s * _POINTS)
    calls = [~_m.route.like(f"% {path}%") for path in _OPERATIONS]
    wanted = and_(_m.tenant == tenant, _m.minute >= first, _m.minute <= last, *calls)
    slot = (_m.minute // step).label("slot")
    points = connection.execute(select(slot, *_SUMS).where(wanted).group_by("slot").order_by("slot")).mappings().all()
    routes = _by_slot(connection.execute(select(slot, _m.route, _REQUESTS).where(wanted).group_by("slot", _m.route)))
    who = (_m.subject, _m.version, _m.rung)
    rungs = select(*who, _REQUESTS).where(wanted, _m.rung != "").group_by(*who).order_by(_REQUESTS.desc()).limit(_MOST)
    series = [
        Minute(moment(point["slot"] * step * MINUTE), *_totals([point]), by_route=routes[point["slot"]])
        for point in points
    ]
    served = {(r.subject, r.version, r.rung): int(r.requests) for r in connection.execute(rungs)}
    return Overview(*_totals(points), series=series, rungs=served, step_minutes=step)


class _Totals(NamedTuple):
    """In the order in which `Minute` and `Overview` hold them."""

    requests: int
    errors: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cost: float


def _totals(points: Sequence[RowMapping]) -> _Totals:
    # PostgreSQL sums integers to a decimal type.
    counts = [sum(int(point[f"b{i}"]) for point in points) for i in range(BUCKETS)]
    return _Totals(
        requests=sum(int(point["requests"]) for point in points),
        errors=sum(int(point["errors"]) for point in points),
        p50_ms=percentile(counts, 0.5),
        p95_ms=percentile(counts, 0.95),
        p99_ms=percentile(counts, 0.99),
        cost=sum(float(point["cost"]) for point in points),
    )


def _by_slot(rows: Iterable[sa.Row[tuple[int, str, int]]]) -> Mapping[int, Mapping[str, int]]:
    """Requests by slot and route; the routes with the most requests by name, the rest together as `other`."""
    found = [(row.slot, row.route, int(row.requests)) for row in rows]
    totals: Counter[str] = Counter()
    for _, route, requests in found:
        totals[route] += requests
    named = {route for route, _ in totals.most_common(_ROUTES)}
    slots: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for slot, route, requests in found:
        slots[slot][route if route in named else OTHER] += requests
    return slots
