"""Requests, minutes and spans as a small system has them, and a door to them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from stanchion.core.context import Context
from stanchion.core.errors import NotFound
from stanchion.core.telemetry.contract import LedgerRow, Minute, Observatory, Overview, Span, TraceSummary
from tests.app.console.fake_features import NOW

MODEL = "customer-churn-v2"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def sample_rows(number: int, model: str) -> list[LedgerRow]:
    outcomes = ["ok"] * 17 + ["invalid_input", "deadline_exceeded", "ok"]
    return [
        LedgerRow(
            at=NOW - timedelta(seconds=7 * i + 0.4),
            request_id=f"{0xA1B2C3D4E5F60718293A4B5C + 7919 * i:024x}",
            trace_id=TRACE if i == 0 else f"{0x4BF92F3577B34DA6A3CE929D0E0E5000 + 104729 * i:032x}",
            tenant="acme",
            principal=("key:billing", "key:web-shop")[i % 2],
            route=("POST /v1/predictions", "POST /v2/models/infer", "GET /v1/models")[i % 5 % 3],
            status={"ok": 200, "invalid_input": 422, "deadline_exceeded": 504}[outcomes[i % 20]],
            outcome=outcomes[i % 20],
            latency_ms=2.1 + 3 * abs(math.sin(i * 1.7)) ** 6 * (1 + i % 9) * 4,
            subject=model if i % 5 % 3 != 2 else "",
            version="2.1.3" if i % 5 % 3 != 2 else "",
            rung=("primary", "primary", "simple")[i % 7 % 3] if i % 5 % 3 != 2 else "",
        )
        for i in range(number)
    ]


def sample_minutes(number: int) -> list[Minute]:
    out = []
    for i in range(number):
        wave = 1 + 0.35 * math.sin(i / 9) + 0.12 * math.sin(i * 2.3)
        routes = {
            "POST /v1/predictions": int(62 * wave),
            "POST /v2/models/infer": int(28 * (2 - wave)),
            "GET /v1/models": 6 + i % 5,
        }
        asked = sum(routes.values())
        at = (NOW - timedelta(minutes=i)).replace(second=0)
        p50 = 3 + abs(math.sin(i / 5))
        out.append(Minute(at, asked, 1 if i % 11 == 3 else 0, p50, p50 * 2.9, p50 * (8 + i % 4), 0.0, routes))
    return out[::-1]


def sample_spans() -> list[Span]:
    start = int(NOW.timestamp() * 1_000_000)
    plan = [
        ("a", None, "POST /v1/predictions", 0, 8420, "ok"),
        ("b", "a", "authenticate", 60, 480, "ok"),
        ("c", "a", "serving:predict", 610, 8100, "ok"),
        ("d", "c", "features:read", 700, 1900, "ok"),
        ("e", "c", "rung primary", 2000, 5200, "deadline_exceeded"),
        ("f", "c", "rung simple", 5300, 7900, "ok"),
    ]
    return [
        Span(TRACE, i, parent, name, start + a, start + b, status, {"stanchion.model": MODEL, "batch": 1})
        for i, parent, name, a, b, status in plan
    ]


@dataclass
class FakeObservatory(Observatory):
    rows: list[LedgerRow]
    series: list[Minute]
    rungs: dict[tuple[str, str, str], int]
    spans: list[Span]
    asked: list[dict[str, object]] = field(default_factory=list)

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
        self.asked.append({"before": before, "route": route, "subject": subject, "outcome": outcome, "search": search})
        return [
            r
            for r in self.rows
            if (before is None or r.at < before)
            and (route is None or r.route == route)
            and (subject is None or r.subject == subject)
            and (outcome is None or r.outcome == outcome)
            and (search is None or search in (r.request_id, r.trace_id))
        ][:limit]

    async def overview(self, ctx: Context, *, minutes: int = 60) -> Overview:
        series = [m for m in self.series if m.at > NOW - timedelta(minutes=minutes)]
        asked, failed = sum(m.requests for m in series), sum(m.errors for m in series)
        return Overview(asked, failed, 3.4, 11.8, 38.2, sum(m.cost for m in series), series, self.rungs)

    async def traces(
        self, ctx: Context, *, before: datetime | None = None, limit: int = 50, slower_than_ms: float = 0
    ) -> Sequence[TraceSummary]:
        found = [
            TraceSummary(r.trace_id, r.route, r.at, r.latency_ms, 6, "ok" if r.outcome == "ok" else "error")
            for r in self.rows
            if r.latency_ms >= slower_than_ms and (before is None or r.at < before)
        ]
        return found[:limit]

    async def trace(self, ctx: Context, trace_id: str) -> Sequence[Span]:
        found = [s for s in self.spans if s.trace_id == trace_id]
        if not found:
            raise NotFound(f"no trace {trace_id!r}")
        return found
