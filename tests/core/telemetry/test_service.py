from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from math import ceil
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from stanchion.app.http.telemetry import routes
from stanchion.core.context import Context
from stanchion.core.contract import methods
from stanchion.core.errors import InvalidInput, Unavailable
from stanchion.core.http.routes import CONTEXT
from stanchion.core.storage import Database
from stanchion.core.storage.open import open_database
from stanchion.core.telemetry.contract import Content, Contents, LedgerRow, Observatory
from stanchion.core.telemetry.ledger import Ledger
from stanchion.core.telemetry.metrics import Metrics
from stanchion.core.telemetry.retention import Retention
from stanchion.core.telemetry.service import TelemetryService
from stanchion.core.telemetry.tables import TELEMETRY_SCHEMA

Row = Callable[..., LedgerRow]
ME = Context(tenant="acme", principal="key:1")
both = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)


async def stored(database: Database, *rows: LedgerRow) -> None:
    book = Ledger(database)
    for one in rows:
        book.write(one)
    await book.flush()


@pytest.fixture
def service(database: Database, clock: Any) -> TelemetryService:
    return TelemetryService(database, clock, Metrics())


@both
async def test_a_row_comes_back_as_it_was_written(service: TelemetryService, database: Database, row: Row) -> None:
    written = row(subject="churn", version="2.1.3", rung="primary", cache="hit", items=3, tokens_in=1, cost=0.5)
    await stored(database, written)
    assert await service.requests(ME) == [written]


async def test_each_tenant_sees_its_own_rows_only(service: TelemetryService, database: Database, row: Row) -> None:
    mine, theirs = row(), row(tenant="globex", rung="secret")
    await stored(database, mine, theirs)
    assert await service.requests(ME) == [mine]
    assert await service.requests(ME, search=theirs.request_id) == []
    assert await service.requests(ME, search=theirs.trace_id) == []
    overview = await service.overview(ME)
    assert overview.requests == 1 and not overview.rungs
    assert (await service.overview(replace(ME, tenant="nobody"))).requests == 0


@both
async def test_rows_are_found_by_route_subject_outcome_and_id(
    service: TelemetryService, database: Database, row: Row
) -> None:
    plain, other = row(), row(route="GET /v1/models", subject="churn", outcome="not_found")
    await stored(database, plain, other)
    for wanted in (
        {"route": "GET /v1/models"},
        {"subject": "churn"},
        {"outcome": "not_found"},
        {"search": other.request_id},
        {"search": other.trace_id},
    ):
        assert await service.requests(ME, **wanted) == [other]
    assert await service.requests(ME, route="GET /v1/models", outcome="ok") == []


@pytest.mark.parametrize("limit", [0, -1, 101])
async def test_a_limit_out_of_range_is_refused(service: TelemetryService, limit: int) -> None:
    with pytest.raises(InvalidInput):
        await service.requests(ME, limit=limit)
    with pytest.raises(InvalidInput):
        await service.traces(ME, limit=limit)


@pytest.mark.parametrize("minutes", [0, 10_081])
async def test_a_span_of_time_out_of_range_is_refused(service: TelemetryService, minutes: int) -> None:
    with pytest.raises(InvalidInput):
        await service.overview(ME, minutes=minutes)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(moments=st.lists(st.integers(0, 12), max_size=30), limit=st.integers(1, 7))
async def test_pages_hold_every_row_once_even_within_one_microsecond(
    row: Row, clock: Any, moments: list[int], limit: int
) -> None:
    database = open_database("memory:")
    await database.prepare(TELEMETRY_SCHEMA)
    written = [row(at=clock.now() + timedelta(microseconds=m)) for m in moments]
    await stored(database, *written)
    service, found, before = TelemetryService(database, clock, Metrics()), list[LedgerRow](), None
    while page := await service.requests(ME, before=before, limit=limit):
        found += page
        before = page[-1].at
    await database.close()
    assert sorted(r.request_id for r in found) == sorted(r.request_id for r in written)
    assert [r.at for r in found] == sorted((r.at for r in found), reverse=True)


@both
async def test_the_overview_equals_a_count_over_the_rows(
    service: TelemetryService, database: Database, row: Row, clock: Any
) -> None:
    now: datetime = clock.now()
    rows = [
        row(
            at=now - timedelta(minutes=i % 90),
            outcome="ok" if i % 7 else "unavailable",
            latency_ms=0.2 * (i + 1),
            route=f"GET /{i % 3}",
            subject="churn",
            version="1.0.0",
            rung=("primary", "rule")[i % 2],
            cost=0.25,
        )
        for i in range(600)
    ]
    await stored(database, *rows)
    found = await service.overview(ME, minutes=60)
    inside = [r for r in rows if r.at > now - timedelta(minutes=60)]
    assert found.requests == len(inside) == sum(m.requests for m in found.series)
    assert found.errors == sum(r.outcome != "ok" for r in inside) == sum(m.errors for m in found.series)
    assert found.cost == pytest.approx(0.25 * len(inside))
    assert found.rungs == Counter(("churn", "1.0.0", r.rung) for r in inside)
    assert [m.at for m in found.series] == [now - timedelta(minutes=59 - i) for i in range(60)]
    assert sum((Counter(m.by_route) for m in found.series), Counter()) == Counter(r.route for r in inside)
    latencies = sorted(r.latency_ms for r in inside)
    for share, estimate in ((0.5, found.p50_ms), (0.95, found.p95_ms), (0.99, found.p99_ms)):
        true = latencies[ceil(share * len(latencies)) - 1]
        assert true / 1.4143 <= estimate <= true * 1.4143


@both
async def test_a_long_overview_has_wider_points(
    service: TelemetryService, database: Database, row: Row, clock: Any
) -> None:
    await stored(database, *(row(at=clock.now() - timedelta(hours=h)) for h in range(200)))
    week = await service.overview(ME, minutes=10_080)
    assert week.step_minutes == 60
    assert week.requests == 168 == sum(m.requests for m in week.series)
    assert len(week.series) <= 201
    assert all(m.at.minute == 0 for m in week.series)


@both
async def test_the_busiest_routes_are_named_and_the_rest_is_other(
    service: TelemetryService, database: Database, row: Row
) -> None:
    await stored(database, *(row(route=f"GET /{i}") for i in range(50)), *(row(route="GET /busy") for _ in range(9)))
    (point,) = (await service.overview(ME)).series
    assert len(point.by_route) == 21
    assert point.by_route["GET /busy"] == 9
    assert sum(point.by_route.values()) == 59


@asynccontextmanager
async def statements(database: Database) -> AsyncIterator[list[tuple[str, Any]]]:
    """What is executed meanwhile, with its parameters."""
    found: list[tuple[str, Any]] = []

    def note(connection: object, cursor: object, statement: str, parameters: Any, *rest: object) -> None:
        if statement.startswith("SELECT"):
            found.append((statement, parameters))

    engine = await database.read(lambda c: c.engine)
    event.listen(engine, "before_cursor_execute", note)
    yield found
    event.remove(engine, "before_cursor_execute", note)


async def test_an_overview_reads_rollups_only(service: TelemetryService, database: Database, row: Row) -> None:
    await stored(database, row())
    async with statements(database) as read:
        await service.overview(ME)
    assert read and all("FROM ledger_minutes" in statement for statement, _ in read)


async def test_every_look_up_uses_its_index(service: TelemetryService, database: Database) -> None:
    asked = {
        "ledger_at (tenant=?)": lambda: service.requests(ME),
        "ledger_trace (trace_id=?)": lambda: service.requests(ME, search="0" * 32),
        "ledger_request (request_id=?)": lambda: service.requests(ME, search="0" * 24),
        "spans_roots (tenant=?)": lambda: service.traces(ME),
        "sqlite_autoindex_ledger_minutes_1 (tenant=? AND minute>? AND minute<?)": lambda: service.overview(ME),
    }
    for index, ask in asked.items():
        async with statements(database) as read:
            await ask()
        for statement, parameters in read:
            explain = f"EXPLAIN QUERY PLAN {statement}"
            rows = await database.read(lambda c, e=explain, p=parameters: c.exec_driver_sql(e, p).all())  # type: ignore[misc]
            plan = "\n".join(str(r[3]) for r in rows)
            assert index in plan
            assert "SCAN" not in plan


async def test_retention_goes_on_where_one_store_fails(clock: Any) -> None:
    asked: list[datetime] = []

    async def broken(older_than: datetime) -> int:
        raise Unavailable("down")

    async def works(older_than: datetime) -> int:
        asked.append(older_than)
        return 0

    await Retention({broken: 1, works: 30}, clock).once()
    assert asked == [clock.now() - timedelta(days=30)]


async def test_metrics_are_read_as_prometheus_text(service: TelemetryService) -> None:
    assert "stanchion_build_info" in await service.metrics(ME)


def test_every_read_of_telemetry_is_an_action_without_effect() -> None:
    assert {m.action.name for m in methods(Observatory)} == {"telemetry:read", "telemetry:metrics"}
    assert {m.action.name for m in methods(Contents)} == {"telemetry:read_content"}
    assert {m.action.effect for c in (Observatory, Contents) for m in methods(c)} == {"read"}


class Nothing(Contents):
    """Contents where nothing is kept."""

    async def content(self, ctx: Context, request_id: str) -> Sequence[Content]:
        return ()


@pytest.fixture
async def client(service: TelemetryService) -> AsyncIterator[httpx2.AsyncClient]:
    app = FastAPI()
    router = routes(service, Nothing()).api
    assert router is not None
    app.include_router(router)

    async def as_me(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, CONTEXT: ME}, receive, send)

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=as_me), base_url="http://test") as http:
        yield http


async def test_the_routes_answer_with_pages(
    client: httpx2.AsyncClient, database: Database, row: Row, clock: Any
) -> None:
    rows = [row(rung="primary") for _ in range(3)]
    await stored(database, *rows)
    first = (await client.get("/v1/telemetry/requests", params={"limit": 2})).json()
    assert [r["request_id"] for r in first["items"]] == [rows[2].request_id, rows[1].request_id]
    rest = (await client.get("/v1/telemetry/requests", params={"before": first["next"]})).json()
    assert [r["request_id"] for r in rest["items"]] == [rows[0].request_id]
    overview = (await client.get("/v1/telemetry/overview")).json()
    assert overview["requests"] == 3
    assert overview["rungs"] == [{"subject": "", "version": "", "rung": "primary", "requests": 3}]
    assert (await client.get("/v1/telemetry/traces")).json() == {"items": [], "next": None}


@pytest.mark.parametrize(
    "path",
    [
        "requests?limit=0",
        "requests?limit=101",
        "requests?before=yesterday",
        "requests?before=2026-01-01T00:00:00",
        "overview?minutes=10081",
        "traces?slower_than_ms=-1",
        "traces?slower_than_ms=nan",
        "traces/short",
    ],
)
async def test_a_value_out_of_range_is_refused_by_the_route(client: httpx2.AsyncClient, path: str) -> None:
    assert (await client.get(f"/v1/telemetry/{path}")).status_code == 422


async def test_the_routes_describe_their_answers(client: httpx2.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    for path in ("requests", "overview", "traces", "traces/{trace_id}"):
        answer = document["paths"][f"/v1/telemetry/{path}"]["get"]["responses"]["200"]
        assert "$ref" in answer["content"]["application/json"]["schema"]
    assert {"LedgerRow", "Minute", "Span", "TraceSummary"} <= set(document["components"]["schemas"])
