"""How the gate and the HTTP door tell what happened: metrics, spans, logs and the ledger behind their ports."""

from __future__ import annotations

import logging
from collections.abc import Callable
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
_BOUND = 2_000


class GateInstruments(Instruments):
    """What the gate measures with."""

    def __init__(self, metrics: Metrics, spans: SpanRecorder) -> None:
        self._metrics = metrics
        self._spans = spans
        # Actions and outcomes are named by the program, so there are not many.
        self._bound: dict[tuple[str, str], tuple[Callable[[], None], Callable[[float], None]]] = {}

    def observe(self, action: str, outcome: str, seconds: float) -> None:
        found = self._bound.get((action, outcome))
        if found is None:
            count, time = self._metrics.calls.child((action, outcome)), self._metrics.call_seconds.child((action,))
            found = self._bound[action, outcome] = (count.inc, time.observe)
        found[0]()
        found[1](seconds)

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
        # As many as the metrics tell apart; what comes after them is counted the longer way.
        self._bound: dict[tuple[str, int], tuple[Callable[[], None], Callable[[float], None]]] = {}

    @property
    def full(self) -> bool:
        """Whether no further request may begin, as it could not be recorded."""
        return self._ledger.full

    def write(self, row: LedgerRow) -> None:
        """Take a finished row; returns at once."""
        self._ledger.write(row)
        count, seconds = self._bound.get((row.route, row.status)) or self._instruments(row)
        count()
        seconds(row.latency_ms / 1000)

    def _instruments(self, row: LedgerRow) -> tuple[Callable[[], None], Callable[[float], None]]:
        found = self._requests.child((row.route, str(row.status))).inc, self._seconds.child((row.route,)).observe
        if len(self._bound) < _BOUND:
            self._bound[row.route, row.status] = found
        return found
