"""Spans of sampled calls, made by OpenTelemetry's SDK and kept in the platform's own database.

The provider is not the global one and exports nowhere else: nothing leaves the process. Whether a call is sampled
stands in its Context, so a call that is not makes no span at all. Parents come from the Context too, never from
an ambient variable: a generator may be resumed in another one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from opentelemetry.context import Context as Ambient
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags, set_span_in_context
from opentelemetry.trace import Span as LiveSpan
from sqlalchemy import Connection, select

from ..clock import Clock, micros
from ..context import Context, Trace
from ..errors import StanchionError
from ..redaction import redact
from ..storage.contract import Database
from .batch import BatchWriter
from .retention import prune
from .semconv import ALLOWED
from .tables import Insert, spans

Value = str | int | float | bool
_TENANT = "stanchion.tenant"
_ROOT = "stanchion.root"
_LONGEST = 200
# Given here, or the SDK would take its limits from the environment.
_LIMITS = SpanLimits(
    max_span_attributes=64,
    max_events=1,
    max_links=1,
    max_event_attributes=1,
    max_link_attributes=1,
    max_attribute_length=4_096,
    max_span_attribute_length=4_096,
)


class _Row(NamedTuple):
    tenant: str
    trace_id: str
    span_id: str
    parent_id: str | None
    root: bool
    name: str
    started_at: int
    ended_at: int
    status: str
    attributes: str


class _Tap(SpanProcessor):
    """Hands finished spans on."""

    def __init__(self, take: Callable[[ReadableSpan], None]) -> None:
        self._take = take

    def on_end(self, span: ReadableSpan) -> None:
        self._take(span)


class SpanRecorder(BatchWriter[ReadableSpan]):
    """Makes spans and stores them in batches. When its buffer is full spans are dropped and counted."""

    def __init__(self, database: Database, clock: Clock, *, capacity: int = 20_000, linger: float = 0.05) -> None:
        super().__init__(database, self._store, task="spans", capacity=capacity, linger=linger)
        self._clock = clock
        self._rows = Insert(spans, _Row._fields, database.dialect)
        self._open: dict[str, LiveSpan] = {}
        self.dropped = 0
        provider = TracerProvider(
            sampler=ALWAYS_ON, resource=Resource.get_empty(), span_limits=_LIMITS, shutdown_on_exit=False
        )
        provider.add_span_processor(_Tap(self._take))
        self._tracer = provider.get_tracer("stanchion")

    def span(
        self, ctx: Context, name: str, attributes: Mapping[str, Value] | None = None
    ) -> AbstractContextManager[Context]:
        """Run the block as a child of the Context's span; gives the Context that belongs inside.

        Does nothing for a call that is not sampled. The status is `ok` or the code of the error that leaves the
        block. Attributes whose names are not in `semconv.Key` are dropped.
        """
        return self._span(ctx, name, attributes) if ctx.trace.sampled else nullcontext(ctx)

    def annotate(self, ctx: Context, attributes: Mapping[str, Value], *, name: str | None = None) -> None:
        """Add what was learned to the span that `ctx` came from, if it is sampled and still open.

        `name` replaces its name, such as a path by the route that matched it.
        """
        if ctx.trace.sampled and (span := self._open.get(ctx.trace.span_id)) is not None:
            span.set_attributes(attributes)
            if name is not None:
                span.update_name(name)

    async def prune(self, older_than: datetime) -> int:
        """Delete spans that began before that moment; how many went."""
        return await prune(self._database, spans, spans.c.started_at, older_than)

    @contextmanager
    def _span(self, ctx: Context, name: str, attributes: Mapping[str, Value] | None) -> Iterator[Context]:
        began, wall = self._clock.monotonic(), micros(self._clock.now())
        span = self._tracer.start_span(
            name,
            _parent(ctx.trace),
            # A parent that is not open here is the caller's: this span is the first of the trace in this process.
            attributes={**(attributes or {}), _TENANT: ctx.tenant, _ROOT: ctx.trace.span_id not in self._open},
            start_time=wall * 1_000,
            record_exception=False,  # its message and stack may hold content
            set_status_on_exception=False,
        )
        span_id = format(span.get_span_context().span_id, "016x")
        self._open[span_id] = span
        try:
            yield replace(ctx, trace=Trace(ctx.trace.trace_id, span_id, True))
        except BaseException as error:
            span.set_status(Status(StatusCode.ERROR, _code(error)))
            raise
        finally:
            del self._open[span_id]
            span.end(wall * 1_000 + round((self._clock.monotonic() - began) * 1e6) * 1_000)

    def _take(self, span: ReadableSpan) -> None:
        if self.full:
            self.dropped += 1
        else:
            self.add(span)

    def _store(self, connection: Connection, ended: Sequence[ReadableSpan], again: bool) -> None:
        rows = [_row(span) for span in ended]  # here, because this is not the event loop's thread
        c, first = spans.c, rows[0]
        same = (c.tenant == first.tenant, c.trace_id == first.trace_id, c.span_id == first.span_id)
        if again and connection.execute(select(c.id).where(*same)).first() is not None:
            return  # the attempt that seemed to fail was committed
        self._rows(connection, rows)


def _parent(trace: Trace) -> Ambient:
    place = SpanContext(int(trace.trace_id, 16), int(trace.span_id, 16), False, TraceFlags(TraceFlags.SAMPLED))
    return set_span_in_context(NonRecordingSpan(place), Ambient())


def _code(error: BaseException) -> str:
    if isinstance(error, StanchionError):
        return error.code
    return "cancelled" if isinstance(error, asyncio.CancelledError | GeneratorExit) else "internal_error"


def _row(span: ReadableSpan) -> _Row:
    given = dict(span.attributes or {})
    allowed = {key: value for key, value in given.items() if key in ALLOWED}
    return _Row(
        tenant=str(given[_TENANT]),
        trace_id=format(span.context.trace_id, "032x"),
        span_id=format(span.context.span_id, "016x"),
        parent_id=None if span.parent is None else format(span.parent.span_id, "016x"),
        root=bool(given[_ROOT]),
        name=_text(span.name),
        started_at=(span.start_time or 0) // 1_000,
        ended_at=(span.end_time or 0) // 1_000,
        status=span.status.description or "ok",
        attributes=json.dumps({k: _text(v) if isinstance(v, str) else v for k, v in allowed.items()}),
    )


def _text(given: str) -> str:
    """A name as it may be kept: callers choose some of them, and could choose a secret."""
    return redact(given.replace("\0", ""))[:_LONGEST]
