"""The front desk of serving: holds the parts and passes each call to the one whose business it is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..core.clock import Clock
from ..core.context import Context
from ..core.errors import Unavailable
from ..core.storage import Database
from ..core.telemetry.metrics import Metrics
from ..core.values import Json
from ..features import Features
from ..registry import Registry
from .batch.service import BatchService
from .contract import (
    Advice,
    BatchJob,
    BatchOrder,
    Drill,
    DrillMode,
    Entry,
    ModelQuality,
    Noted,
    Predictions,
    PredictOptions,
    Rollout,
    RolloutPlan,
    RolloutReport,
    ServedModel,
    ServedSpec,
    Serving,
    Settled,
    SidecarReport,
    Truth,
)
from .contract.predictions import PLAIN
from .contract.repository import InferRequest, InferResponse, ModelMetadata, ModelState
from .drill.faults import Faults
from .follow import Backoff, Follower
from .inferring import Inferring
from .journal.desk import JournalDesk
from .memory import Memory, MemoryLimits
from .parts import Planned, check, engine_of, follower_of, watchers_of
from .people import People
from .pool import Pool
from .ports import Runtime
from .predicting import Predicting
from .releases import ReleaseLimits, Releases
from .rollout.board import Board
from .rollout.desk import RolloutDesk
from .shelf import Limits, Shelf
from .sidecar.service import Predict, SidecarService
from .sources import Secrets, Sources
from .traffic import Traffic


class ServingService(Serving):
    """Serves the models that the system declares to the tenant of the system, and registered ones to their tenant."""

    def __init__(
        self,
        *,
        specs: Sequence[ServedSpec],
        registry: Registry,
        runtime: Runtime,
        metrics: Metrics,
        clock: Clock,
        tenant: str,
        pool: Pool,
        limits: Limits | None = None,
        backoff: Backoff | None = None,
        inline_seconds: float = 0.001,
        slow_timeout: float = 5.0,
        traffic: Traffic | None = None,
        database: Database | None = None,
        development: bool = True,
        releases: ReleaseLimits | None = None,
        memory: MemoryLimits | None = None,
        secrets: Secrets | None = None,
        batches: BatchService | None = None,
        features: Features | None = None,
        people: People | None = None,
        journal: JournalDesk | None = None,
        sidecars: Callable[[Predict], SidecarService] | None = None,
    ) -> None:
        check(specs, people)
        faults, board = Faults(clock), Board()
        self._sources = Sources(clock=clock, pool=pool, secrets=secrets, nested=self._nested)
        engine = replace(
            engine_of(clock, pool, metrics, faults, self._sources),
            inline_seconds=inline_seconds,
            slow_timeout=slow_timeout,
            features=features,
            people=people,
        )
        self._people = people
        self._pool = pool
        self._memory = Memory(clock, memory, watchers_of(metrics))
        self._shelf = Shelf(
            specs=specs,
            registry=registry,
            runtime=runtime,
            engine=engine,
            owner=tenant,
            clock=clock,
            limits=limits or Limits(),
            memory=self._memory,
        )
        self._journal = journal
        kept = None if journal is None else journal.journal
        self._predicting = Predicting(self._shelf, traffic=traffic or board, journal=kept)
        self._changes = follower_of(specs, features, self._shelf)
        self._inferring = Inferring(self._shelf, self._predicting, self._memory, traffic or board)
        plan = Planned(registry, self._shelf, board, faults, self._predicting.beside, clock, tenant, metrics)
        self._releases = None if database is None else plan.releases(database, specs, development, releases, kept)
        self._batches = batches
        self._sidecars = None if sidecars is None else sidecars(self._nested)
        self._follower = Follower(self._shelf, registry, backoff=backoff or Backoff())

    async def start(self) -> None:
        """Load what is declared and registered, then follow the registry."""
        if self._journal is not None:
            await self._journal.journal.start()
        if self._people is not None:
            await self._people.start()
        await self._follower.start()
        if self._changes is not None:
            await self._changes.start()
        if self._releases is not None:
            await self._releases.start()
        await self._memory.start()
        if self._batches is not None:
            await self._batches.start()
        if self._sidecars is not None:
            await self._sidecars.start()

    async def stop(self) -> None:
        """Follow no more; runs under way end by themselves."""
        if self._batches is not None:
            await self._batches.stop()
        if self._sidecars is not None:
            await self._sidecars.stop()
        if self._releases is not None:
            await self._releases.stop()
        if self._changes is not None:
            await self._changes.stop()
        await self._follower.stop()
        await self._memory.stop()
        if self._journal is not None:
            await self._journal.journal.stop()
        if self._people is not None:
            await self._people.stop()
        await self._sources.close()
        self._pool.close()

    # The two that are called the most give what is to be awaited, with no coroutine of their own around it.

    def predict(
        self, ctx: Context, model: str, instances: Sequence[Mapping[str, Json]], *, options: PredictOptions = PLAIN
    ) -> Coroutine[Any, Any, Predictions]:
        return self._predicting.predict(ctx, model, instances, options)

    def infer(self, ctx: Context, model: str, request: InferRequest) -> Coroutine[Any, Any, InferResponse]:
        return self._inferring.infer(ctx, model, request)

    async def _nested(self, ctx: Context, model: str, instances: Sequence[Mapping[str, Json]]) -> Predictions:
        """A member of a graph answers as to any caller. Who may call a graph may, through it, call its members."""
        return await self._predicting.predict(ctx, model, instances, PLAIN)

    async def models(self, ctx: Context) -> Sequence[ServedModel]:
        return self._shelf.statuses(ctx.tenant)

    async def describe(self, ctx: Context, model: str) -> ServedModel:
        return self._shelf.status(ctx.tenant, await self._shelf.find(ctx.tenant, model))

    async def feedback(self, ctx: Context, items: Sequence[Truth]) -> Sequence[Noted]:
        return await self._kept().feedback(ctx, items)

    async def quality(self, ctx: Context, model: str, *, days: int = 30) -> ModelQuality:
        return await self._kept().quality(ctx, model, days=days)

    async def journal(self, ctx: Context, request_id: str) -> Sequence[Entry]:
        return await self._kept().entries(ctx, request_id)

    def _kept(self) -> JournalDesk:
        if self._journal is None:
            raise Unavailable("this process keeps no journal of predictions")
        return self._journal

    async def metadata(self, ctx: Context, model: str) -> ModelMetadata:
        return await self._inferring.metadata(ctx, model)

    async def ready(self, ctx: Context, model: str) -> bool:
        return await self._inferring.ready(ctx, model)

    async def index(self, ctx: Context) -> Sequence[ModelState]:
        return await self._inferring.index(ctx)

    async def load(self, ctx: Context, model: str) -> ModelState:
        return await self._inferring.load(ctx, model)

    async def unload(self, ctx: Context, model: str) -> ModelState:
        return await self._inferring.unload(ctx, model)

    @property
    def _rolling(self) -> RolloutDesk:
        return self._released().rollouts

    def _released(self) -> Releases:
        if self._releases is None:
            raise Unavailable("rollouts and drills need a database, and this process has none")
        return self._releases

    async def start_rollout(self, ctx: Context, model: str, version: str, plan: RolloutPlan) -> Rollout:
        return await self._rolling.start(ctx, model, version, plan)

    async def approve_rollout(self, ctx: Context, model: str) -> Rollout:
        return await self._rolling.approve(ctx, model)

    async def pause_rollout(self, ctx: Context, model: str, *, reason: str = "") -> Rollout:
        return await self._rolling.pause(ctx, model, reason)

    async def resume_rollout(self, ctx: Context, model: str, *, reason: str = "") -> Rollout:
        return await self._rolling.resume(ctx, model, reason)

    async def abort_rollout(self, ctx: Context, model: str, *, reason: str) -> Rollout:
        return await self._rolling.abort(ctx, model, reason)

    async def promote_rollout(self, ctx: Context, model: str, *, evidence: str = "") -> Rollout:
        return await self._rolling.promote(ctx, model, evidence)

    async def roll_back_rollout(self, ctx: Context, model: str, *, reason: str) -> Rollout:
        return await self._rolling.roll_back(ctx, model, reason)

    async def rollouts(self, ctx: Context, *, model: str = "", limit: int = 50) -> Sequence[Rollout]:
        return await self._rolling.listed(ctx, model, limit)

    async def rollout(self, ctx: Context, model: str, *, rollout: str = "") -> RolloutReport:
        return await self._rolling.report(ctx, model, rollout)

    async def begin_drill(
        self,
        ctx: Context,
        model: str,
        rung: str,
        *,
        mode: DrillMode = "error",
        share: float = 1.0,
        seconds: float = 30.0,
        delay: float = 1.0,
    ) -> Drill:
        return await self._released().drills.begin(
            ctx, model, rung, mode=mode, share=share, seconds=seconds, delay=delay
        )

    async def end_drills(self, ctx: Context, model: str) -> int:
        return await self._released().drills.end(ctx, model)

    async def drills(self, ctx: Context, *, limit: int = 50) -> Sequence[Drill]:
        return await self._released().drills.listed(ctx, limit)

    @property
    def _beside(self) -> SidecarService:
        if self._sidecars is None:
            raise Unavailable("sidecars need a database, and this process has none")
        return self._sidecars

    async def advise(
        self,
        ctx: Context,
        sidecar: str,
        features: Mapping[str, Json],
        base: Json,
        *,
        unit: str = "",
        attributes: Mapping[str, Json] | None = None,
    ) -> Advice:
        return await self._beside.advise(ctx, sidecar, features, base, unit, attributes)

    async def settle(self, ctx: Context, sidecar: str, outcomes: Sequence[Settled]) -> int:
        return await self._beside.settle(ctx, sidecar, outcomes)

    async def sidecars(self, ctx: Context) -> Sequence[SidecarReport]:
        return await self._beside.reports(ctx)

    async def sidecar(self, ctx: Context, sidecar: str, *, days: float = 7.0) -> SidecarReport:
        return await self._beside.report(ctx, sidecar, days)

    @property
    def _batching(self) -> BatchService:
        if self._batches is None:
            raise Unavailable("batch jobs need a database, and this process has none")
        return self._batches

    async def submit_batch(self, ctx: Context, model: str, order: BatchOrder) -> BatchJob:
        return await self._batching.submit(ctx, model, order)

    def run_batch(self, ctx: Context, model: str, order: BatchOrder) -> AsyncIterator[BatchJob]:
        return self._batching.run(ctx, model, order)

    async def batches(self, ctx: Context, *, limit: int = 50) -> Sequence[BatchJob]:
        return await self._batching.newest(ctx, limit)

    async def batch_job(self, ctx: Context, job: str) -> BatchJob:
        return await self._batching.show(ctx, job)

    async def cancel_batch(self, ctx: Context, job: str) -> BatchJob:
        return await self._batching.cancel(ctx, job)
