"""Builds the feature store from the declared views and the key-value store."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from ..core.module import Module, Parts, Settings
from .contract import Features, OnDemandSpec, ServiceSpec, SourceSpec, ViewSpec

if TYPE_CHECKING:
    from ..core.http import Routes
    from ..core.rpc import RpcService
    from ..core.storage import Schema
    from .service import FeatureService


class FeaturesSettings(Settings):
    """Settings of the feature store."""

    poll_seconds: float = Field(
        1.0, gt=0, le=60, description="How long another process's write may stay unnoticed by those who follow changes."
    )
    log_waiting: int = Field(
        10_000, ge=1, le=1_000_000, description="Served vectors that may wait to be stored; then the oldest give way."
    )
    log_days: float = Field(7.0, gt=0, le=3650, description="For how many days served vectors are kept.")
    pushed_days: float = Field(
        400,
        ge=0,
        le=36_500,
        description="For how many days back training sets of pushed rows can be made; 0 keeps every row for ever.",
    )
    offline_memory_mb: int = Field(
        1024, ge=64, le=1_048_576, description="Megabytes that the offline engine may use before it uses the disk."
    )
    offline_threads: int = Field(2, ge=1, le=256, description="Threads of the offline engine.")
    spine_megabytes: int = Field(256, ge=1, le=65_536, description="The largest spine of a training set, in megabytes.")
    spine_rows: int = Field(5_000_000, ge=1, description="The most rows of a spine.")
    partition_hours: float = Field(
        24, ge=0.01, le=87_600, description="Hours of event time that materialisation commits at once."
    )
    lease_seconds: float = Field(
        60,
        ge=1,
        le=86_400,
        description="Seconds after which another run may take over a materialisation that has died.",
    )
    null_share: float = Field(
        0.5, ge=0, le=1, description="The share of nulls among present values above which a field is reported."
    )
    missing_share: float = Field(
        0.2, ge=0, le=1, description="The share of keys without present value above which a view is reported."
    )


async def _build(parts: Parts, settings: FeaturesSettings) -> FeatureService:
    from ..core.security.secrets import SecretSource
    from .backends.duck import Duck
    from .backends.jobs import SqlJobs
    from .backends.log import SqlLog
    from .materialise.service import Materialise, Pace
    from .monitoring.health import Limits
    from .monitoring.log import VectorLog
    from .monitoring.tables import SCHEMA
    from .offline.relations import Relations
    from .offline.service import Historical
    from .offline.spine import Limits as SpineLimits
    from .online.catalogue import Catalogue
    from .retention import Retention
    from .service import FeatureService

    await parts.database.prepare(SCHEMA)
    catalogue = Catalogue(parts.declared)
    secrets = SecretSource(parts.database, parts.vault, environment=os.environ, clock=parts.clock)

    async def resolve(reference: str) -> str:
        return (await secrets.resolve(reference, tenant=parts.tenant)).reveal()

    rows = SqlLog(parts.database)
    engine = Duck(
        folder=Path(parts.folder) / "features",
        home=Path(parts.system_file).parent,
        memory_mb=settings.offline_memory_mb,
        threads=settings.offline_threads,
    )
    plans = [shape.plan for shape in catalogue.shapes.values()]
    relations = Relations(plans, tenant=parts.tenant, resolve=resolve, log=rows)
    historical = Historical(
        [spec for spec in parts.declared if isinstance(spec, ServiceSpec)],
        catalogue.transforms,
        relations=relations,
        engine=engine,
        limits=SpineLimits(settings.spine_megabytes, settings.spine_rows),
    )
    return FeatureService(
        catalogue,
        store=parts.keyvalue,
        clock=parts.clock,
        poll_seconds=settings.poll_seconds,
        log=VectorLog(parts.database, parts.clock, waiting=settings.log_waiting, days=settings.log_days),
        limits=Limits(settings.null_share, settings.missing_share),
        rows=rows,
        engine=engine,
        historical=historical,
        retention=Retention(plans, rows, parts.clock, days=_pushed_days(settings)),
        materialise=lambda values: Materialise(
            catalogue.shapes,
            values,
            relations=relations,
            engine=engine,
            jobs=SqlJobs(parts.database),
            clock=parts.clock,
            pace=Pace(timedelta(hours=settings.partition_hours), timedelta(seconds=settings.lease_seconds)),
        ),
    )


def _pushed_days(settings: FeaturesSettings) -> float:
    """Served vectors are replayed against pushed rows, so that rows stay at least as long as vectors do."""
    return max(settings.pushed_days, settings.log_days) if settings.pushed_days else 0.0


def _schema() -> Schema:
    from .backends.tables import SCHEMA

    return SCHEMA


def _routes(features: Features) -> Routes:
    from .routes import routes

    return routes(features)


def _rpc(features: Features, ready: Callable[[], bool]) -> RpcService:
    from .feast.rpc import service

    return service(features, ready)


MODULE = Module(
    name="features",
    contract=Features,
    build=_build,
    settings=FeaturesSettings,
    declares=(SourceSpec, ViewSpec, OnDemandSpec, ServiceSpec),
    routes=_routes,
    rpc=_rpc,
    schema=_schema,
)
