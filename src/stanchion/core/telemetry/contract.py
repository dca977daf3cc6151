"""What happened, as others may read it: the ledger, its rollups, and traces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from ..context import Context
from ..contract import action

ContentKind = Literal["input", "output"]


@dataclass(slots=True)
class LedgerRow:
    """One request, sampled or not. The door opens the row, routes add what they learn, the door writes it.

    `outcome` is `ok` or an error code. `subject` and `version` say which named thing answered (a model, a
    route), `rung` which step of its ladder. Cost is in US dollars. `stages` are the milliseconds of each stage inside
    the service as a JSON object, or empty.
    """

    at: datetime
    request_id: str
    trace_id: str
    tenant: str
    principal: str
    route: str
    status: int = 0
    outcome: str = "ok"
    latency_ms: float = 0.0
    subject: str = ""
    version: str = ""
    rung: str = ""
    cache: str = ""
    items: int = 1
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0
    stages: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """One timed step of a trace. Times in microseconds since the epoch; attributes hold no content."""

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    started_at: int
    ended_at: int
    status: str
    attributes: Mapping[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """A trace in a list: its root span and how many spans it holds."""

    trace_id: str
    name: str
    started_at: datetime
    duration_ms: float
    spans: int
    status: str


@dataclass(frozen=True, slots=True)
class Minute:
    """The rollup of one minute, or of the few that a point of the series holds.

    `errors` are requests with any outcome but `ok`. Latencies are in milliseconds, from a histogram, so percentiles
    are estimates. `by_route` names the busiest routes; the rest is `other`.
    """

    at: datetime
    requests: int
    errors: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cost: float
    by_route: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Overview:
    """The tenant's last minutes: totals, the series, and who answered (subject, version, rung -> count).

    The series has at most 201 points of `step_minutes` each, oldest first; a point without requests is left out.
    """

    requests: int
    errors: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cost: float
    series: Sequence[Minute]
    rungs: Mapping[tuple[str, str, str], int]
    step_minutes: int = 1


class Observatory(Protocol):
    """Reads of the tenant's own telemetry."""

    @action("telemetry:read", effect="read", resource="Telemetry")
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
        """Ledger rows, newest first, 1 to 100; `before` is the `at` of the last row of the page before.

        `search` is a whole request id or trace id. A page may be a little shorter or longer than `limit`, as rows
        of the same microsecond stay together. Raises InvalidInput for another limit.
        """
        ...

    @action("telemetry:read", effect="read", resource="Telemetry")
    async def overview(self, ctx: Context, *, minutes: int = 60) -> Overview:
        """Rollup of the last 1 to 10,080 minutes, this one included; never reads single rows or spans.

        Requests of the console, of probes and of the documentation stand in the ledger and are not counted here.

        Raises InvalidInput for another span of time.
        """
        ...

    @action("telemetry:read", effect="read", resource="Telemetry")
    async def traces(
        self, ctx: Context, *, before: datetime | None = None, limit: int = 50, slower_than_ms: float = 0
    ) -> Sequence[TraceSummary]:
        """Sampled traces, newest first, 1 to 100; `before` is the `started_at` of the last one of the page before.

        Raises InvalidInput for another limit.
        """
        ...

    @action("telemetry:read", effect="read", resource="Telemetry")
    async def trace(self, ctx: Context, trace_id: str) -> Sequence[Span]:
        """The kept spans of one trace by start, at most 2,000. Raises NotFound.

        The parent of the first may be a span of the caller's own tracing, which is not among them.
        """
        ...

    @action("telemetry:metrics", effect="read", resource="Telemetry")
    async def metrics(self, ctx: Context) -> str:
        """The process's metrics in the Prometheus text format; they name no tenant and no person."""
        ...


@dataclass(frozen=True, slots=True)
class Content:
    """What went into a request or came out of it."""

    kind: ContentKind
    at: datetime
    data: bytes


class Contents(Protocol):
    """Reads of kept inputs and outputs: a right of its own, as they hold what the rest of telemetry must not."""

    @action("telemetry:read_content", effect="read", resource="Content", by="request_id")
    async def content(self, ctx: Context, request_id: str) -> Sequence[Content]:
        """What is kept of one request of the tenant, by time; nothing if capture is off, over, or not the tenant's.

        Raises NotTrustworthy if a stored item was changed or moved.
        """
        ...
