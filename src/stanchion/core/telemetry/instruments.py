"""How the gate and the HTTP door tell what happened: metrics, spans, logs and the ledger behind their ports."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager

from ..context import Context
from ..gate import Instruments
from .contract import LedgerRow
from .ledger import Ledger
from .logs import about
from .metrics import Metrics
from .semconv import Key
from .spans import SpanRecorder

_log = logging.getLogger("stanchion")


class GateInstruments(Instruments):
    """What the gate measures with."""

    def __init__(self, metrics: Metrics, spans: SpanRecorder) -> None:
        self._metrics = metrics
        self._spans = spans

    def observe(self, action: str, outcome: str, seconds: float) -> None:
        self._metrics.calls.child((action, outcome)).inc()
        self._metrics.call_seconds.child((action,)).observe(seconds)

    def span(self, ctx: Context, name: str, resource: str) -> AbstractContextManager[Context]:
        return self._spans.span(ctx, name, {Key.RESOURCE: resource, Key.REQUEST_ID: ctx.request_id})

    def fault(self, ctx: Context, action: str, error: Exception) -> None:
        _log.error("%s failed inside the service", action, exc_info=error, extra=about(ctx, "internal_error"))

    def __call__(self, trace_id: str, where: str, error: Exception) -> None:
        """Log a fault met outside any gated call, such as in a route."""
        extra = {"trace_id": trace_id, "code": "internal_error"}
        _log.error("%s failed inside the service", where, exc_info=error, extra=extra)


class Book:
    """Where the HTTP door writes finished requests: the ledger, and the request metrics."""

    def __init__(self, ledger: Ledger, metrics: Metrics) -> None:
        self._ledger = ledger
        self._requests = metrics.requests
        self._seconds = metrics.request_seconds

    @property
    def full(self) -> bool:
        """Whether no further request may begin, as it could not be recorded."""
        return self._ledger.full

    def write(self, row: LedgerRow) -> None:
        """Take a finished row; returns at once."""
        self._ledger.write(row)
        self._requests.child((row.route, str(row.status))).inc()
        self._seconds.child((row.route,)).observe(row.latency_ms / 1000)
