"""Builds the runs of a system from its declared pipelines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from pydantic import Field

from ..core.dormant import Dormant
from ..core.module import Module, Parts, Settings
from ..events import Events
from .contract import Pipelines, PipelineSpec, QueueSpec, ScheduleSpec

if TYPE_CHECKING:
    from ..core.http import Routes
    from ..core.storage import Schema
    from .service import PipelineService

T = TypeVar("T")


class PipelineSettings(Settings):
    """Settings of pipelines."""

    work: bool = Field(True, description="Whether this process works on runs; if not, `stanchion worker` does.")
    queues: tuple[str, ...] = Field(("*",), description="The queues this process takes runs from; `*` is all.")
    concurrency: int = Field(32, ge=1, le=1_000, description="Runs under way in this process at once.")
    threads: int = Field(8, ge=1, le=256, description="Threads for stages that are plain functions.")
    poll_seconds: float = Field(
        0.5, gt=0, le=60, description="How long a run that another process, or a moment, made due may stay unnoticed."
    )
    lease_seconds: float = Field(
        10.0,
        ge=0.5,
        le=3_600,
        description="Without a heartbeat for so long a process is dead; others take its runs over.",
    )
    stalls: int = Field(
        20, ge=1, le=1_000, description="So often may a run lose its process without finishing a step, before it fails."
    )
    inline_bytes: int = Field(
        65_536,
        ge=0,
        le=16 << 20,
        description="Answers of stages up to this size lie in the journal, others in blobs.",
    )
    keep_days: int = Field(90, ge=1, le=3_650, description="For how many days runs that have ended are kept.")
    step_events: bool = Field(False, description="Whether the end of each step is an event, besides those of runs.")


async def _build(parts: Parts, settings: PipelineSettings) -> PipelineService | Dormant:
    """A system that declares no pipelines pays nothing for them until somebody asks."""
    return (
        await _made(parts, settings)
        if parts.declared
        else Dormant(Pipelines, lambda: _made(parts, settings), empty=("declared", "schedules"))
    )


async def _made(parts: Parts, settings: PipelineSettings) -> PipelineService:
    from .backends.sql import SqlEngine
    from .running.worker import Pace
    from .service import PipelineService
    from .values import Answers

    await parts.database.prepare(schema())
    news = None
    if parts.find(Events) is not None:
        from .backends.heralds import BusNews

        news = BusNews()
    return PipelineService(
        SqlEngine(parts.database, clock=parts.clock, news=news, steps=settings.step_events),
        Answers(parts.blobs, inline=settings.inline_bytes),
        pipelines=_of(parts.declared, PipelineSpec),
        queues=_of(parts.declared, QueueSpec),
        schedules=_of(parts.declared, ScheduleSpec),
        pace=Pace(
            queues=settings.queues,
            concurrency=settings.concurrency,
            poll=settings.poll_seconds,
            lease=settings.lease_seconds,
            stalls=settings.stalls,
        ),
        tenant=parts.tenant,
        clock=parts.clock,
        keep_days=settings.keep_days,
        threads=settings.threads,
        work=settings.work,
    )


def _of(declared: Sequence[object], kind: type[T]) -> list[T]:
    return [item for item in declared if isinstance(item, kind)]


def schema() -> Schema:
    """The tables; made when the service is, not when its process starts."""
    from .backends.tables import SCHEMA

    return SCHEMA


def _routes(pipelines: Pipelines) -> Routes:
    from .routes import routes

    return routes(pipelines)


MODULE = Module(
    name="pipelines",
    contract=Pipelines,
    build=_build,
    settings=PipelineSettings,
    wants=(Events,),
    declares=(PipelineSpec, QueueSpec, ScheduleSpec),
    routes=_routes,
)
