"""The feature store's front desk: it holds the parts and hands each call to the one that knows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import Literal

from ..core.clock import Clock, micros, moment
from ..core.context import Context
from ..core.errors import FieldProblem, Misconfigured
from ..core.storage import KeyValue
from ..core.values import Json
from .contract import (
    Features,
    Lineage,
    Logged,
    Progress,
    Reading,
    Row,
    Service,
    SkewReport,
    Vector,
    View,
    ViewHealth,
    Written,
)
from .materialise.service import Materialise
from .monitoring.health import Limits, Observer, judged
from .monitoring.lineage import traced
from .monitoring.log import VectorLog
from .monitoring.skew import Skew
from .offline.service import Historical
from .online.catalogue import Catalogue
from .online.changes import Changes
from .online.newest import Newest
from .online.plans import MOST, invalid
from .online.push import Pusher
from .online.values import OnlineValues
from .ports import Log, Offline
from .retention import Retention
from .rows import key_faults


class FeatureService(Features):
    """The declared features over a key-value store. Raises Misconfigured for declarations that cannot be served.

    `poll_seconds` is how long another process's write may stay unnoticed by those who follow changes. Without `rows`
    pushed rows are not kept, without `log` served vectors are not; `engine` computes expressions of pushed rows.
    `retention` forgets old rows.
    """

    def __init__(
        self,
        declared: Sequence[object] | Catalogue,
        *,
        store: KeyValue,
        clock: Clock,
        poll_seconds: float = 1.0,
        log: VectorLog | None = None,
        limits: Limits | None = None,
        rows: Log | None = None,
        engine: Offline | None = None,
        historical: Historical | None = None,
        materialise: Callable[[OnlineValues], Materialise] | None = None,
        retention: Retention | None = None,
    ) -> None:
        self._catalogue = declared if isinstance(declared, Catalogue) else Catalogue(declared)
        self._store = store
        self._clock = clock
        self._log = log
        self._limits = limits or Limits()
        self._observer = Observer(clock)
        self._newest = Newest(store)
        self._changes = Changes(store, list(self._catalogue.shapes), poll_seconds=poll_seconds)
        self._values = OnlineValues(store, clock, self._changes)
        self._skew = Skew(log, None if historical is None else historical.historical)
        self._pusher = Pusher(self._catalogue, self._values, clock, rows, engine)
        self._historical = historical
        self._retention = retention
        self._materialise = None if materialise is None else materialise(self._values)

    async def start(self) -> None:
        """Begin to store served vectors, and to forget old rows."""
        if self._log is not None:
            await self._log.start()
        if self._retention is not None:
            await self._retention.start()

    async def stop(self) -> None:
        """End the streams of those who follow changes, and store what is queued."""
        self._changes.stop()
        if self._retention is not None:
            await self._retention.stop()
        if self._log is not None:
            await self._log.stop()

    async def push(self, ctx: Context, view: str, rows: Sequence[Row]) -> int:
        shape = self._catalogue.shape(view)
        changed = await self._pusher.push(ctx, shape, rows)
        if ctx.effect is not None:
            ctx.effect.note(view=view, rows=len(rows), newer=changed)
        return changed

    async def read(self, ctx: Context, view: str, keys: Sequence[str]) -> Sequence[Reading]:
        shape = self._catalogue.shape(view)
        if not 1 <= len(keys) <= MOST:
            raise invalid([FieldProblem("$.keys", f"must be 1 to {MOST} keys")])
        if faults := [fault for i, key in enumerate(keys) for fault in key_faults(key, f"$.keys[{i}]")]:
            raise invalid(faults)
        found = await self._values.get(ctx.tenant, shape, keys)
        now = micros(self._clock.now())
        readings = []
        for key, content in zip(keys, found, strict=True):
            each = shape.state.read(key, content, now)
            readings.append(Reading(key, each.status, each.values, None if each.at is None else moment(each.at)))
        return readings

    def historical(
        self,
        ctx: Context,
        service: str,
        spine: bytes,
        *,
        time: str,
        as_of: Literal["known", "event"] = "known",
        status: bool = False,
    ) -> AsyncIterator[bytes]:
        if self._historical is None:
            raise Misconfigured("this feature store has no offline side")
        return self._historical.historical(ctx, service, spine, time=time, as_of=as_of, status=status)

    def materialise(
        self, ctx: Context, view: str, *, start: datetime | None = None, end: datetime | None = None
    ) -> AsyncIterator[Progress]:
        if self._materialise is None:
            raise Misconfigured("this feature store has no offline side")
        return self._materialise.materialise(ctx, view, start=start, end=end)

    def changes(self, ctx: Context) -> AsyncIterator[Written]:
        return self._changes.follow(ctx.tenant)

    async def views(self, ctx: Context) -> Sequence[View]:
        return [shape.view for shape in self._catalogue.shapes.values()]

    async def services(self, ctx: Context) -> Sequence[Service]:
        return [plan.service for plan in self._catalogue.plans.values()]

    async def vectors(
        self,
        ctx: Context,
        service: str,
        entities: Sequence[Mapping[str, str]],
        *,
        request: Sequence[Mapping[str, Json]] = (),
    ) -> Sequence[Vector]:
        plan = self._catalogue.plan(service)
        plan.check(entities, request)
        found = await self._store.get(plan.keys(ctx.tenant, entities))
        vectors = plan.vectors(len(entities), found, request, micros(self._clock.now()))
        self._observer.saw(ctx.tenant, plan.shapes, vectors)
        return vectors

    async def log(self, ctx: Context, service: str, logged: Sequence[Logged]) -> None:
        plan = self._catalogue.plan(service)
        if self._log is not None:
            self._log.add(ctx.tenant, service, plan.service.fingerprint, logged)

    async def health(self, ctx: Context) -> Sequence[ViewHealth]:
        shapes = list(self._catalogue.shapes.values())
        newest = await self._newest.times(ctx.tenant, [shape.name for shape in shapes])
        now = self._clock.now()
        return [
            judged(shape, self._observer.counts(ctx.tenant, shape.name), newest[shape.name], now, self._limits)
            for shape in shapes
        ]

    async def skew(self, ctx: Context, service: str, *, limit: int = 1_000) -> SkewReport:
        return await self._skew.report(ctx, self._catalogue.plan(service), limit)

    async def lineage(self, ctx: Context, service: str) -> Lineage:
        return traced(self._catalogue.plan(service))
