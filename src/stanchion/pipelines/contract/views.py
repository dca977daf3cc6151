"""What is told of pipelines, schedules, queues and the processes that work on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from ...core.values import Json

NodeKind = Literal["input", "stage", "map", "join"]


@dataclass(frozen=True, slots=True)
class NodeView:
    """One box of a pipeline's picture; `after` are the boxes whose answers it takes."""

    id: str
    stage: str
    kind: NodeKind
    after: Sequence[str] = ()
    guard: str = ""


@dataclass(frozen=True, slots=True)
class PipelineView:
    """A declared pipeline. `nodes` are empty where it is written as code and has no fixed graph."""

    name: str
    version: str
    queue: str
    about: str
    schema: Mapping[str, Json]
    stages: Sequence[str]
    nodes: Sequence[NodeView] = ()
    schedules: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ScheduleView:
    """A schedule and when it fires. `when` is a cron line with its zone, an interval, or an event's type."""

    name: str
    pipeline: str
    when: str
    paused: bool
    next: datetime | None = None
    last: datetime | None = None


@dataclass(frozen=True, slots=True)
class QueueView:
    """A queue, its limits, and how many runs of the caller's tenant are in which state."""

    name: str
    counts: Mapping[str, int]
    concurrency: int | None = None
    rate: str = ""
    workers: int = 0
