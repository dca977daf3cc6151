"""The contract of Observatory as tests: subclass `ObservatorySuite`, give it a door and what fills it.

The door must know no request and no trace of the tenants `t1` and `t2` and permit the role `admin` all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from stanchion.core.context import Context, Rights, Trace
from stanchion.core.errors import InvalidInput, NotFound
from stanchion.core.telemetry.contract import LedgerRow, Observatory

from .clock import FakeClock

ADA = Context("t1", "ada", Rights(frozenset({"admin"})))
STRANGER = Context("t2", "eve", Rights(frozenset({"admin"})))
Ledgered = Callable[[LedgerRow], Awaitable[None]]
Traced = Callable[[Context, float], Awaitable[None]]


class ObservatorySuite:
    """Override the fixtures `observatory`, `ledgered` and `traced`; build all with the fixture `clock`.

    `ledgered(row)` stores a ledger row; `traced(ctx, seconds)` records a span `outer` that takes so long and holds a
    span `inner`. Both return when what they stored can be read.
    """

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def observatory(self) -> Observatory:
        raise NotImplementedError("override the fixture `observatory`")

    @pytest.fixture
    def ledgered(self) -> Ledgered:
        raise NotImplementedError("override the fixture `ledgered`")

    @pytest.fixture
    def traced(self) -> Traced:
        raise NotImplementedError("override the fixture `traced`")

    @staticmethod
    def row(clock: FakeClock, number: int, tenant: str = "t1") -> LedgerRow:
        """A good prediction, `number` seconds ago."""
        return LedgerRow(
            at=clock.now() - timedelta(seconds=number),
            request_id=f"{tenant}{number:022x}",
            trace_id=f"{tenant}{number:030x}",
            tenant=tenant,
            principal="key:1",
            route="POST /v1/predictions",
            status=200,
            latency_ms=4.0,
            subject="churn",
            version="1.0.0",
            rung="primary",
        )

    async def test_a_row_comes_back_as_it_was_written(
        self, observatory: Observatory, ledgered: Ledgered, clock: FakeClock
    ) -> None:
        written = replace(self.row(clock, 1), cache="hit", items=3, tokens_in=1, tokens_out=2, cost=0.125)
        await ledgered(written)
        assert list(await observatory.requests(ADA)) == [written]

    async def test_rows_come_newest_first_in_pages(
        self, observatory: Observatory, ledgered: Ledgered, clock: FakeClock
    ) -> None:
        rows = [self.row(clock, number) for number in range(5)]
        for row in rows:
            await ledgered(row)
        first = await observatory.requests(ADA, limit=2)
        rest = await observatory.requests(ADA, before=first[-1].at)
        assert [*first, *rest] == rows

    async def test_rows_are_found_by_what_they_say(
        self, observatory: Observatory, ledgered: Ledgered, clock: FakeClock
    ) -> None:
        other = replace(self.row(clock, 2), route="GET /v1/models", subject="other", outcome="not_found", status=404)
        for row in (self.row(clock, 1), other):
            await ledgered(row)
        assert list(await observatory.requests(ADA, route="GET /v1/models")) == [other]
        assert list(await observatory.requests(ADA, subject="other")) == [other]
        assert list(await observatory.requests(ADA, outcome="not_found")) == [other]
        for name in (other.request_id, other.trace_id):
            assert list(await observatory.requests(ADA, search=name)) == [other]

    async def test_the_overview_counts_requests_and_who_answered(
        self, observatory: Observatory, ledgered: Ledgered, clock: FakeClock
    ) -> None:
        for number in range(3):
            await ledgered(replace(self.row(clock, number), cost=0.25))
        await ledgered(replace(self.row(clock, 3), outcome="unavailable", status=503, rung="rule"))
        found = await observatory.overview(ADA, minutes=5)
        assert (found.requests, found.errors, found.cost) == (4, 1, 0.75)
        assert dict(found.rungs) == {("churn", "1.0.0", "primary"): 3, ("churn", "1.0.0", "rule"): 1}
        assert sum(point.requests for point in found.series) == 4
        assert 2 < found.p50_ms < 8

    async def test_limits_and_spans_of_time_have_bounds(self, observatory: Observatory) -> None:
        for limit in (0, 101):
            with pytest.raises(InvalidInput):
                await observatory.requests(ADA, limit=limit)
            with pytest.raises(InvalidInput):
                await observatory.traces(ADA, limit=limit)
        for minutes in (0, 10_081):
            with pytest.raises(InvalidInput):
                await observatory.overview(ADA, minutes=minutes)

    async def test_a_trace_is_its_spans_by_start(self, observatory: Observatory, traced: Traced) -> None:
        ctx = replace(ADA, trace=Trace.new(sampled=True))
        await traced(ctx, 2.0)
        outer, inner = await observatory.trace(ADA, ctx.trace.trace_id)
        assert (outer.name, inner.name, inner.parent_id) == ("outer", "inner", outer.span_id)
        assert outer.ended_at - outer.started_at == 2_000_000
        [summary] = await observatory.traces(ADA)
        assert (summary.trace_id, summary.name, summary.spans) == (ctx.trace.trace_id, "outer", 2)
        assert summary.duration_ms == 2000.0

    async def test_slow_traces_are_found(self, observatory: Observatory, traced: Traced) -> None:
        ids = []
        for seconds in (0.5, 3.0, 1.0):
            ctx = replace(ADA, trace=Trace.new(sampled=True))
            await traced(ctx, seconds)
            ids.append(ctx.trace.trace_id)
        found = await observatory.traces(ADA, slower_than_ms=900)
        assert [each.trace_id for each in found] == [ids[2], ids[1]]

    async def test_another_tenant_sees_none_of_it(
        self, observatory: Observatory, ledgered: Ledgered, traced: Traced, clock: FakeClock
    ) -> None:
        ctx, row = replace(ADA, trace=Trace.new(sampled=True)), self.row(clock, 1)
        await ledgered(row)
        await traced(ctx, 1.0)
        assert list(await observatory.requests(STRANGER)) == []
        assert list(await observatory.requests(STRANGER, search=row.request_id)) == []
        assert (await observatory.overview(STRANGER)).requests == 0
        assert list(await observatory.traces(STRANGER)) == []
        for trace_id in (ctx.trace.trace_id, "ab" * 16):
            with pytest.raises(NotFound):
                await observatory.trace(STRANGER, trace_id)

    async def test_metrics_are_in_the_text_format_of_prometheus(self, observatory: Observatory) -> None:
        text = await observatory.metrics(ADA)
        assert "# TYPE " in text
        assert "# HELP " in text
