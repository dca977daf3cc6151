"""What `system.py` declares of pipelines: stages, pipelines, queues and schedules, as plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ...core.context import Rights
from .checks import Check

if TYPE_CHECKING:
    from .nodes import Graph

Inject = str
"""What a stage's parameter is given besides values: `context`, `step` or `sql`."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How a failed stage is tried again: `attempts` in all, the first after `seconds`, each next `factor` times later.

    Waits are at most `most` seconds and jittered by up to a quarter. Only the errors of `on` are worth another try.
    """

    attempts: int = 1
    seconds: float = 1.0
    factor: float = 2.0
    most: float = 300.0
    on: tuple[type[Exception], ...] = (Exception,)


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `limit` runs begin in any `seconds`, over all processes."""

    limit: int
    seconds: float


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """A named queue; `concurrency` bounds the runs under way over all processes. Parked runs do not count."""

    name: str
    concurrency: int | None = None
    rate: Rate | None = None


@dataclass(frozen=True, slots=True)
class StageSpec:
    """A function that is a stage. `parameters` and `output` are the types by which its values are kept.

    `injected` maps the parameters that are no values to what they get. `compensate` undoes it, given its answer.
    `record` names the field that identifies a row of the list it gives. `effect` marks a stage that changes the world:
    a dry run leaves it out.
    """

    name: str
    function: Callable[..., Any]
    parameters: Mapping[str, Any]
    output: Any
    injected: Mapping[str, Inject] = field(default_factory=dict)
    retry: Retry = Retry()
    timeout: float | None = None
    compensate: Callable[..., Any] | None = None
    cache: timedelta | None = None
    check: Check | None = None
    record: str = ""
    effect: bool = False
    code: str = ""


@dataclass(frozen=True, slots=True)
class PipelineSpec:
    """A pipeline: a `graph` of stages, or a `function` that is its own code. `input` and `output` are types.

    A run goes on with the `version` it began with. `timeout` bounds a run from its beginning, waits and all.
    """

    name: str
    function: Callable[..., Any]
    input: Any
    output: Any
    version: str
    graph: Graph | None = None
    stages: Mapping[str, StageSpec] = field(default_factory=dict)
    queue: str = "default"
    priority: int = 100
    timeout: float | None = None
    about: str = ""


@dataclass(frozen=True, slots=True)
class ScheduleSpec:
    """Starts runs of a pipeline by a cron line in a time zone, each `every`, or on events of the type `on`.

    `inputs` makes a run's inputs from the moment (or event) it is for. `rights` are those of the runs: nobody's by
    default. Of the moments that passed while nothing ran the latest is made up for; `catch_up` makes up for all.
    """

    name: str
    pipeline: str
    inputs: Callable[[Any], Any]
    cron: str = ""
    zone: str = "UTC"
    every: timedelta | None = None
    on: str = ""
    since: datetime | None = None
    rights: Rights = field(default_factory=Rights)
    catch_up: bool = False
