"""How the serving module is built: ONNX Runtime behind the port, the registry through its door."""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING

from pydantic import Field

from ..core.errors import Misconfigured
from ..core.flags import Flags
from ..core.module import Module, Parts, Settings
from ..features import Features
from ..registry import Registry
from ..review import Reviews
from .contract import ServedSpec, Serving, SidecarSpec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ..core.http import Routes
    from ..core.rpc import RpcService
    from ..core.storage import Schema
    from .journal.desk import JournalDesk
    from .people import People
    from .service import ServingService
    from .sidecar.service import Predict, SidecarService


class ServingSettings(Settings):
    """Settings of serving."""

    inline_ms: float = Field(
        1.0,
        ge=0,
        le=100,
        description="Longest run that the event loop itself does, in milliseconds; others get a thread.",
    )
    threads: int = Field(2, ge=1, le=64, description="Threads for runs that are slower than that.")
    waiting: int = Field(64, ge=0, description="Slow runs that may wait for a thread; one more is refused.")
    slow_timeout_seconds: float = Field(
        5.0, gt=0, description="Time limit of a slow graph or a Python function, where the system declares none."
    )
    versions_on_demand: int = Field(4, ge=1, le=100, description="Versions by reference that are held for each tenant.")
    tenants_on_demand: int = Field(8, ge=1, le=1000, description="Tenants for which such versions are held.")
    fresh_seconds: float = Field(
        5.0, gt=0, le=300, description="How long the meaning of a reference such as name@staging is taken for true."
    )
    retry_seconds: float = Field(0.5, gt=0, description="Wait before the registry is tried again; doubled each time.")
    retry_maximum_seconds: float = Field(30.0, gt=0, description="Longest such wait.")
    rollout_poll_seconds: float = Field(
        0.5, gt=0, le=60, description="How long another process's change of a rollout or drill may stay unseen."
    )
    rollout_lease_seconds: float = Field(
        5.0, ge=1, le=300, description="After how long another process takes over rollouts from one that has died."
    )
    mirrored_waiting: int = Field(
        64, ge=1, le=10_000, description="Calls that may wait to be shown to a shadow; one more is not shown."
    )
    mirrored_seconds: float = Field(5.0, gt=0, le=300, description="Time limit of a call that is shown to a shadow.")

    memory_megabytes: int | None = Field(
        None, ge=1, description="Memory for the graphs of all models, in MiB, as measured; no limit where unset."
    )
    idle_seconds: float | None = Field(
        None, gt=0, description="Time without a call after which a model's graphs leave memory; never where unset."
    )
    keep_in_memory: tuple[str, ...] = Field(
        (), description="Models whose graphs stay in memory, whatever is idle and whoever needs the room."
    )
    room_seconds: float = Field(
        5.0, gt=0, description="How long a load waits for graphs in use to make room before it is refused."
    )
    batch_folders: tuple[str, ...] = Field(
        (),
        description="Folders whose files batch jobs may read and write; `{tenant}` in one makes it each tenant's own.",
    )
    batch_threads: int = Field(1, ge=1, le=64, description="Threads that a batch job predicts on, if it does not say.")
    sidecar_days: float = Field(
        90, gt=0, le=3650, description="Days for which the advices of sidecars are kept, with both values and outcome."
    )
    batch_jobs: int = Field(1, ge=1, le=64, description="Batch jobs that are worked off in the background at once.")

    journal_days: int = Field(
        30, ge=1, le=3650, description="Days that kept predictions, and what became of them, are stored."
    )


async def build(parts: Parts, settings: ServingSettings) -> ServingService:
    """The service for the declarations of this system."""
    from .backends.onnx import OnnxRuntime
    from .batch.metrics import BatchMetrics
    from .batch.paths import Folders
    from .batch.service import BatchService, Engines
    from .batch.store import BatchStore
    from .follow import Backoff
    from .memory import MemoryLimits
    from .pool import Pool
    from .releases import ReleaseLimits
    from .service import ServingService
    from .shelf import Limits

    specs = [spec for spec in parts.declared if isinstance(spec, ServedSpec)]
    registry, runtime = parts.door(Registry), OnnxRuntime()
    pool = Pool(threads=settings.threads, waiting=settings.waiting)
    batches = BatchService(
        store=BatchStore(parts.database, parts.clock),
        engines=Engines(registry, runtime, pool, settings.batch_threads, parts.find(Features)),
        folders=Folders(settings.batch_folders, owner=parts.tenant),
        specs=specs,
        owner=parts.tenant,
        clock=parts.clock,
        at_once=settings.batch_jobs,
        metrics=BatchMetrics(parts.metrics),
    )
    return ServingService(
        specs=specs,
        registry=registry,
        runtime=runtime,
        metrics=parts.metrics,
        clock=parts.clock,
        tenant=parts.tenant,
        pool=pool,
        batches=batches,
        sidecars=_sidecars(parts, settings, specs),
        features=parts.find(Features),
        people=_people(parts, specs),
        journal=_journal(parts, settings),
        memory=MemoryLimits(
            budget=None if settings.memory_megabytes is None else settings.memory_megabytes << 20,
            idle_seconds=settings.idle_seconds,
            keep=frozenset(settings.keep_in_memory),
            patience=settings.room_seconds,
        ),
        secrets=_secrets(parts),
        limits=Limits(settings.versions_on_demand, settings.tenants_on_demand, settings.fresh_seconds),
        backoff=Backoff(settings.retry_seconds, settings.retry_maximum_seconds),
        inline_seconds=settings.inline_ms / 1000,
        slow_timeout=settings.slow_timeout_seconds,
        database=parts.database,
        development=parts.development,
        releases=ReleaseLimits(
            settings.rollout_poll_seconds,
            settings.rollout_lease_seconds,
            settings.mirrored_waiting,
            settings.mirrored_seconds,
        ),
    )


def _people(parts: Parts, specs: Sequence[ServedSpec]) -> People | None:
    """The reviewers, where a model asks people and this system has any."""
    reviews = parts.find(Reviews)
    if reviews is None or not any(spec.options.asks_people for spec in specs):
        return None
    from .people import People

    return People(reviews)


def _secrets(parts: Parts) -> Callable[[str], Awaitable[str]]:
    """Reads a reference that the system's own file declares, each time anew."""
    from ..core.security.secrets import SecretSource

    source = SecretSource(parts.database, parts.vault, environment=os.environ, clock=parts.clock)

    async def read(reference: str) -> str:
        return (await source.resolve(reference, tenant=parts.tenant)).reveal()

    return read


def _sidecars(
    parts: Parts, settings: ServingSettings, specs: Sequence[ServedSpec]
) -> Callable[[Predict], SidecarService]:
    """What makes the sidecars once it is known how models are asked."""
    from .sidecar.journal import AdviceJournal
    from .sidecar.service import SidecarService

    def made(predict: Predict) -> SidecarService:
        return SidecarService(
            specs=[spec for spec in parts.declared if isinstance(spec, SidecarSpec)],
            models=[spec.name for spec in specs],
            predict=predict,
            flags=parts.door(Flags),
            journal=AdviceJournal(parts.database, parts.clock, days=settings.sidecar_days),
            metrics=parts.metrics,
            clock=parts.clock,
            owner=parts.tenant,
        )

    return made


def _journal(parts: Parts, settings: ServingSettings) -> JournalDesk:
    from .journal.desk import JournalDesk
    from .journal.journal import Journal

    dropped = parts.metrics.counter("stanchion_journal_dropped_total", "Predictions that the journal could not keep")
    journal = Journal(
        parts.database,
        parts.vault,
        parts.clock,
        # Ed25519 signatures are deterministic (RFC 8032), so this one is a secret that needs no place of its own.
        pseudonym=lambda tenant: sha256(parts.signer.sign(tenant.encode(), purpose="serving-journal")).digest(),
        days=settings.journal_days,
        on_dropped=lambda count: dropped.inc(by=count),
    )
    return JournalDesk(parts.database, journal, parts.clock)


def _schema() -> Schema:
    """The tables of all packages, which add theirs to the same metadata when they are imported."""
    from ..core.storage import Schema
    from .batch.tables import jobs
    from .drill.tables import drills
    from .journal.tables import predictions
    from .rollout.tables import rollouts
    from .sidecar.tables import advices
    from .tables import metadata

    gathered = {advices.metadata, jobs.metadata, drills.metadata, predictions.metadata, rollouts.metadata}
    if gathered != {metadata}:
        raise Misconfigured("a table of serving is not in the module's metadata")
    return Schema("serving", metadata)


def routes(door: Serving) -> Routes:
    """The HTTP routes; loaded here because they bring FastAPI."""
    from .protocols.table import served
    from .routes import routes as built

    return built(door).joined(served(door))


def rpc(door: Serving, ready: Callable[[], bool]) -> RpcService:
    """The gRPC service; loaded here because it brings protobuf, which is part of an extra."""
    from .protocols.rpc import service

    return service(door, ready)


def document(declared: Sequence[object]) -> Routes:
    """What the declared models add to the OpenAPI document."""
    from .protocols.document import documented

    return documented(declared)


MODULE = Module(
    name="serving",
    contract=Serving,
    build=build,
    settings=ServingSettings,
    schema=_schema,
    needs=(Registry, Flags),
    wants=(Features, Reviews),
    declares=(ServedSpec, SidecarSpec),
    routes=routes,
    rpc=rpc,
    document=document,
)
