"""What is told of a run: its state, its stages, what became of one record, and the rows that were set aside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from ...core.values import Json

RunStatus = Literal["queued", "running", "waiting", "done", "failed", "cancelled"]
"""`waiting` is parked: it holds no thread, no task and no memory until a signal or a moment comes."""

StageStatus = Literal["done", "failed", "waiting", "retrying", "skipped", "undone"]
RecordOutcome = Literal["produced", "unchanged", "changed", "quarantined", "dropped"]


@dataclass(frozen=True, slots=True)
class RunFault:
    """Why a run failed: a stable code, the words of it, and the stage it failed in (empty: the run's own code)."""

    code: str
    message: str
    stage: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a pipeline.

    `version` is of the code it began with. `blocked` says why a run that is due does not go on: no process that lives
    has that code. `waits` are the names of the signals it is parked on, `due` when it goes on without one. `recoveries`
    counts how often another process took it over, `refused` the late results that were not taken since.
    `inputs` and `output` are given by `get` and `wait` to who started the run; others need `values` and its right.
    """

    id: str
    pipeline: str
    version: str
    status: RunStatus
    queue: str
    priority: int
    principal: str
    created: datetime
    started: datetime | None = None
    ended: datetime | None = None
    due: datetime | None = None
    key: str | None = None
    parent: str | None = None
    forked_from: str | None = None
    schedule: str | None = None
    partition: str | None = None
    dry: bool = False
    cancelling: bool = False
    recoveries: int = 0
    refused: int = 0
    waits: Sequence[str] = ()
    blocked: str = ""
    error: RunFault | None = None
    inputs: Json = None
    output: Json = None


@dataclass(frozen=True, slots=True)
class StageRun:
    """One step of a run: a stage's call, a wait, a child. `step` is its key in the run, `number` its place.

    `rows` and `quarantined` are counted where a stage gives rows. `cached` says that an earlier run's was taken.
    """

    step: str
    stage: str
    number: int
    status: StageStatus
    attempts: int
    started: datetime
    ended: datetime
    rows: int | None = None
    quarantined: int = 0
    cached: bool = False
    error: RunFault | None = None
    notes: Sequence[str] = ()
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class DeadRow:
    """A row that a check or a stage set aside, with every reason."""

    step: str
    record: str
    reasons: Sequence[str]
    row: Json
    at: datetime


@dataclass(frozen=True, slots=True)
class RecordStep:
    """What one step did to the record: its values before and after, and why it was set aside."""

    step: str
    stage: str
    outcome: RecordOutcome
    before: Json = None
    after: Json = None
    reasons: Sequence[str] = ()
    ended: datetime | None = None


@dataclass(frozen=True, slots=True)
class RecordTrail:
    """What happened to one record between a run's input and its output, step by step."""

    run: str
    record: str
    steps: Sequence[RecordStep]


@dataclass(frozen=True, slots=True)
class Values:
    """What a run took and gave. `output` is None until it is done."""

    inputs: Json
    output: Json = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a backfill is: its partitions by status of their runs."""

    run: str
    total: int
    counts: Mapping[str, int]
