"""Prometheus metrics in a registry of their own, with a bound on how many series a label can make.

Counts and sizes are kept here and handed to the library when it is asked for them: each request counts four times, and
the library's own instruments take ten times as long.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from threading import Lock
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client import Gauge as PromGauge
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from ..errors import Misconfigured

P = TypeVar("P")
Made = TypeVar("Made", bound="Counter | Gauge | Histogram")
OTHER = "other"
_VALUES = 100
_SERIES = 2_000
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class _Series(Generic[P]):
    """The children of one instrument, found by one dictionary look-up.

    A label has at most `_VALUES` values and an instrument `_SERIES` series; what comes after them counts as `other`.
    """

    def __init__(self, name: str, doc: str, labels: Sequence[str], make: Callable[[tuple[str, ...]], P]) -> None:
        self.labels = tuple(labels)
        self._name, self._doc, self._make = name, doc, make
        self._known: list[set[str]] = [set() for _ in labels]
        self._children: dict[tuple[str, ...], P] = {}
        if not labels:
            self.child(())

    def child(self, values: tuple[str, ...]) -> P:
        """What counts for these label values, in the order of declaration."""
        return self._children.get(values) or self._admit(values)

    def _admit(self, values: tuple[str, ...]) -> P:
        kept = tuple(self._bounded(known, value) for known, value in zip(self._known, values, strict=True))
        if len(self._children) >= _SERIES:
            kept = (OTHER,) * len(values)
        return self._children.get(kept) or self._children.setdefault(kept, self._make(kept))

    @staticmethod
    def _bounded(known: set[str], value: str) -> str:
        if value in known:
            return value
        if len(known) >= _VALUES:
            return OTHER
        known.add(value)
        return value


class _Count:
    """One series of a counter."""

    __slots__ = ("_lock", "value")

    def __init__(self) -> None:
        self._lock = Lock()
        self.value = 0.0

    def inc(self, by: float = 1.0) -> None:
        with self._lock:
            self.value += by


class _Sizes:
    """One series of a histogram: how many amounts were at most each bound, and above the one before."""

    __slots__ = ("_bounds", "_lock", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._lock = Lock()
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, amount: float) -> None:
        with self._lock:
            self.counts[bisect_left(self._bounds, amount)] += 1
            self.total += amount


class Counter(_Series[_Count]):
    """Counts what happens."""

    def __init__(self, registry: CollectorRegistry, name: str, doc: str, labels: Sequence[str]) -> None:
        super().__init__(name, doc, labels, lambda values: _Count())
        registry.register(self)

    def inc(self, *labels: str, by: float = 1.0) -> None:
        """Add `by`, not negative, to the series of these label values, in the order of declaration."""
        self.child(labels).inc(by)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """What the library asks for at a scrape."""
        family = CounterMetricFamily(self._name, self._doc, labels=self.labels)
        for values, child in self._children.copy().items():
            family.add_metric(values, child.value)
        yield family


class Gauge(_Series[PromGauge]):
    """Tells a present value."""

    def __init__(self, registry: CollectorRegistry, name: str, doc: str, labels: Sequence[str]) -> None:
        parent = PromGauge(name, doc, labels, registry=registry)
        super().__init__(name, doc, labels, lambda values: parent.labels(*values) if values else parent)

    def set(self, value: float, *labels: str) -> None:
        """Replace the value."""
        self.child(labels).set(value)

    def watch(self, read: Callable[[], float], *labels: str) -> None:
        """Ask `read` for the value at every scrape."""
        self.child(labels).set_function(read)


class Histogram(_Series[_Sizes]):
    """Counts amounts by size."""

    def __init__(
        self, registry: CollectorRegistry, name: str, doc: str, labels: Sequence[str], bounds: Sequence[float]
    ) -> None:
        self._bounds = [*map(str, map(float, bounds)), "+Inf"]
        super().__init__(name, doc, labels, lambda values: _Sizes(bounds))
        registry.register(self)

    def observe(self, amount: float, *labels: str) -> None:
        """Count one amount, in seconds unless the instrument says otherwise."""
        self.child(labels).observe(amount)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """What the library asks for at a scrape."""
        family = HistogramMetricFamily(self._name, self._doc, labels=self.labels)
        for values, child in self._children.copy().items():
            buckets = list(zip(self._bounds, accumulate(child.counts), strict=True))
            family.add_metric(values, buckets, sum_value=child.total)
        yield family


class Metrics:
    """The instruments of a process. No label names a tenant: that is the ledger's business."""

    def __init__(self, *, version: str = "") -> None:
        self._registry = CollectorRegistry()
        self._instruments: dict[str, Counter | Gauge | Histogram] = {}
        self.requests = self.counter("stanchion_requests_total", "HTTP requests", ("route", "status"))
        self.request_seconds = self.histogram("stanchion_request_seconds", "Time to answer", ("route",))
        self.calls = self.counter("stanchion_calls_total", "Calls through the gate", ("action", "outcome"))
        self.call_seconds = self.histogram("stanchion_call_seconds", "Time in a call", ("action",))
        self.rungs = self.counter("stanchion_rung_served_total", "Answers by rung", ("operation", "rung"))
        self.breakers = self.gauge("stanchion_breaker_admitted", "Share of calls that a breaker lets pass", ("name",))
        self.cache = self.counter("stanchion_cache_total", "Look-ups in caches", ("cache", "result"))
        self.backlog = self.gauge("stanchion_backlog", "Records not yet stored", ("store",))
        self.dropped = self.gauge("stanchion_spans_dropped", "Spans dropped as their buffer was full")
        self.audit = self.gauge("stanchion_audit_events", "Events in the audit log that are signed for")
        self.gauge("stanchion_build_info", "Always 1", ("version",)).set(1, version)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def counter(self, name: str, doc: str, labels: Sequence[str] = ()) -> Counter:
        """The counter of that name, declared now or before. Raises Misconfigured if it was something else."""
        return self._declare(Counter, name, labels, lambda: Counter(self._registry, name, doc, labels))

    def gauge(self, name: str, doc: str, labels: Sequence[str] = ()) -> Gauge:
        """The gauge of that name, declared now or before. Raises Misconfigured if it was something else."""
        return self._declare(Gauge, name, labels, lambda: Gauge(self._registry, name, doc, labels))

    def histogram(
        self, name: str, doc: str, labels: Sequence[str] = (), *, buckets: Sequence[float] = SECONDS
    ) -> Histogram:
        """The histogram of that name, declared now or before. Raises Misconfigured if it was something else."""
        return self._declare(Histogram, name, labels, lambda: Histogram(self._registry, name, doc, labels, buckets))

    def render(self) -> tuple[bytes, str]:
        """What Prometheus scrapes: the body and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    def _declare(self, kind: type[Made], name: str, labels: Sequence[str], make: Callable[[], Made]) -> Made:
        found = self._instruments.get(name)
        if found is None:
            self._instruments[name] = made = make()
            return made
        if not isinstance(found, kind) or found.labels != tuple(labels):
            raise Misconfigured(f"the metric {name} is already declared in another way")
        return found
