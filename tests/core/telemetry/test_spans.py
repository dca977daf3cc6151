from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from opentelemetry import trace as otel
from sqlalchemy import RowMapping, select

from stanchion.core.context import Context, Trace
from stanchion.core.errors import NotFound, Unavailable
from stanchion.core.storage import Database
from stanchion.core.telemetry.instruments import GateInstruments
from stanchion.core.telemetry.metrics import Metrics
from stanchion.core.telemetry.semconv import Key
from stanchion.core.telemetry.service import TelemetryService
from stanchion.core.telemetry.spans import SpanRecorder
from stanchion.core.telemetry.tables import spans

both = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def recorder(database: Database, clock: Any) -> SpanRecorder:
    return SpanRecorder(database, clock)


@pytest.fixture
def ctx() -> Context:
    return Context(tenant="acme", principal="key:1", trace=Trace.new(sampled=True))


async def kept(database: Database, recorder: SpanRecorder) -> Sequence[RowMapping]:
    await recorder.flush()
    return await database.read(lambda c: c.execute(select(spans).order_by(spans.c.id)).mappings().all())


async def test_an_unsampled_call_makes_no_span(database: Database, recorder: SpanRecorder, ctx: Context) -> None:
    ctx = replace(ctx, trace=Trace.new())
    with recorder.span(ctx, "x") as inner:
        assert inner is ctx
    assert not await kept(database, recorder)


@both
async def test_spans_nest_as_their_contexts_do(
    database: Database, recorder: SpanRecorder, ctx: Context, clock: Any
) -> None:
    with recorder.span(ctx, "outer") as outer:
        clock.forward(0.001)
        with recorder.span(outer, "inner", {Key.ITEMS: 3}) as inner:
            clock.forward(0.002)
    low, high = await kept(database, recorder)
    assert (low["name"], high["name"]) == ("inner", "outer")
    assert low["parent_id"] == high["span_id"] == outer.trace.span_id
    assert low["span_id"] == inner.trace.span_id
    assert high["parent_id"] == ctx.trace.span_id
    assert (low["root"], high["root"]) == (False, True)
    assert {low["trace_id"], high["trace_id"]} == {ctx.trace.trace_id}
    assert low["ended_at"] - low["started_at"] == 2_000
    assert high["ended_at"] - high["started_at"] == 3_000
    assert low["tenant"] == "acme"
    assert json.loads(low["attributes"]) == {"stanchion.items": 3}


async def test_what_was_learned_inside_is_told_too(database: Database, recorder: SpanRecorder, ctx: Context) -> None:
    with recorder.span(ctx, "GET /customers/a@b.io") as inner:
        recorder.annotate(inner, {Key.RUNG: "primary", "prompt": "content"})
    recorder.annotate(inner, {Key.RUNG: "too late"})
    (one,) = await kept(database, recorder)
    assert json.loads(one["attributes"]) == {"stanchion.rung": "primary"}
    assert one["name"] == "GET /customers/[redacted:email]"


async def test_a_span_takes_the_name_of_the_route_once_it_is_known(
    database: Database, recorder: SpanRecorder, ctx: Context
) -> None:
    with recorder.span(ctx, "GET /customers/7") as inner:
        recorder.annotate(inner, {}, name="GET /customers/{id}")
    (one,) = await kept(database, recorder)
    assert one["name"] == "GET /customers/{id}"


async def test_attributes_hold_no_content(database: Database, recorder: SpanRecorder, ctx: Context) -> None:
    attributes = {Key.RESOURCE: "mail a@b.io \0" + "x" * 500, "input": "content", "stanchion.unknown": "content"}
    with recorder.span(ctx, "x", attributes):
        pass
    (one,) = await kept(database, recorder)
    found = json.loads(one["attributes"])
    assert list(found) == ["stanchion.resource"]
    assert found["stanchion.resource"].startswith("mail [redacted:email] x")
    assert len(found["stanchion.resource"]) == 200


@pytest.mark.parametrize(
    "error, status",
    [
        (Unavailable("the canary"), "unavailable"),
        (ValueError("the canary"), "internal_error"),
        (asyncio.CancelledError("the canary"), "cancelled"),
    ],
)
async def test_a_span_tells_the_code_of_its_error_and_no_more(
    database: Database, recorder: SpanRecorder, ctx: Context, error: BaseException, status: str
) -> None:
    with pytest.raises(type(error)), recorder.span(ctx, "x"):
        raise error
    (one,) = await kept(database, recorder)
    assert one["status"] == status
    assert "canary" not in str(dict(one))


async def test_a_full_buffer_drops_spans_and_counts_them(database: Database, clock: Any, ctx: Context) -> None:
    recorder = SpanRecorder(database, clock, capacity=2)
    for _ in range(5):
        with recorder.span(ctx, "x"):
            pass
    assert recorder.dropped == 3
    assert len(await kept(database, recorder)) == 2


async def test_no_global_provider_is_set(recorder: SpanRecorder, ctx: Context) -> None:
    with recorder.span(ctx, "x"):
        assert not otel.get_current_span().get_span_context().is_valid
    assert "stanchion" not in repr(otel.get_tracer_provider())


async def test_concurrent_calls_keep_their_own_parents(
    database: Database, recorder: SpanRecorder, ctx: Context
) -> None:
    async def call(number: int) -> None:
        with recorder.span(ctx, f"outer {number}") as outer:
            await asyncio.sleep(0)
            with recorder.span(outer, f"inner {number}"):
                await asyncio.sleep(0)

    await asyncio.gather(*(call(i) for i in range(50)))
    found = {row["name"]: row for row in await kept(database, recorder)}
    for i in range(50):
        assert found[f"inner {i}"]["parent_id"] == found[f"outer {i}"]["span_id"]


async def test_a_trace_is_listed_once_by_its_first_span(
    database: Database, recorder: SpanRecorder, ctx: Context, clock: Any
) -> None:
    service = TelemetryService(database, clock, Metrics())
    for name in ("first", "second"):
        with recorder.span(ctx, name) as outer:
            clock.forward(0.010)
            with recorder.span(outer, "inner"):
                pass
    await recorder.flush()
    (summary,) = await service.traces(ctx)
    assert (summary.name, summary.spans, summary.duration_ms) == ("first", 4, 10.0)
    assert summary.status == "ok"


@both
async def test_a_span_of_another_process_is_no_second_root(
    database: Database, recorder: SpanRecorder, ctx: Context, clock: Any
) -> None:
    far = SpanRecorder(database, clock)
    with recorder.span(ctx, "near") as near, far.span(near, "far"):
        clock.forward(1)
    await far.flush()
    await recorder.flush()
    (summary,) = await TelemetryService(database, clock, Metrics()).traces(ctx)
    assert (summary.name, summary.spans) == ("near", 2)


@both
async def test_slow_traces_are_found(database: Database, recorder: SpanRecorder, ctx: Context, clock: Any) -> None:
    for milliseconds in (1, 50, 500):
        with recorder.span(replace(ctx, trace=Trace.new(sampled=True)), f"{milliseconds}"):
            clock.forward(milliseconds / 1000)
    await recorder.flush()
    found = await TelemetryService(database, clock, Metrics()).traces(ctx, slower_than_ms=50)
    assert [t.name for t in found] == ["500", "50"]


async def test_a_trace_is_read_in_order_and_by_its_own_tenant_only(
    database: Database, recorder: SpanRecorder, ctx: Context, clock: Any
) -> None:
    service = TelemetryService(database, clock, Metrics())
    with recorder.span(ctx, "outer") as outer:
        clock.forward(0.001)
        with recorder.span(outer, "inner", {Key.RESOURCE: "churn"}):
            pass
    await recorder.flush()
    found = await service.trace(ctx, ctx.trace.trace_id)
    assert [s.name for s in found] == ["outer", "inner"]
    assert found[1].attributes == {"stanchion.resource": "churn"}
    other = replace(ctx, tenant="globex")
    with pytest.raises(NotFound):
        await service.trace(other, ctx.trace.trace_id)
    assert await service.traces(other) == []


@both
async def test_old_spans_are_pruned(database: Database, recorder: SpanRecorder, ctx: Context, clock: Any) -> None:
    for _ in range(3):
        with recorder.span(ctx, "x"):
            clock.forward(86_400)
    await recorder.flush()
    assert await recorder.prune(clock.now() - timedelta(days=1.5)) == 2
    assert len(await kept(database, recorder)) == 1


async def test_the_gate_measures_with_metrics_spans_and_logs(
    database: Database, recorder: SpanRecorder, ctx: Context, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics()
    gate = GateInstruments(metrics, recorder)
    with gate.span(ctx, "serving:predict", "churn"):
        gate.observe("serving:predict", "ok", 0.002)
    gate.fault(ctx, "serving:predict", ValueError("odd"))
    gate("0" * 32, "GET /x", ValueError("odd"))
    (one,) = await kept(database, recorder)
    assert json.loads(one["attributes"]) == {
        "stanchion.resource": "churn",
        "stanchion.request_id": ctx.request_id,
    }
    assert b'stanchion_calls_total{action="serving:predict",outcome="ok"} 1.0' in metrics.render()[0]
    assert [r.getMessage() for r in caplog.records] == [
        "serving:predict failed inside the service",
        "GET /x failed inside the service",
    ]
    assert caplog.records[0].__dict__["trace_id"] == ctx.trace.trace_id
