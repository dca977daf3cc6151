"""Batch inference: a table in, a table of predictions out, exactly once, whatever is killed on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from ...core.context import Context
from ...core.contract import action

BatchState = Literal["queued", "running", "cancelling", "interrupted", "done", "failed", "cancelled"]
Extra = Literal["refuse", "ignore", "keep"]


@dataclass(frozen=True, slots=True)
class BatchOrder:
    """What to predict from and where to put it; paths are those of the process that serves.

    `input` is a CSV or Parquet file or the folder of a Delta table, `output` a `.parquet` or `.csv` file. Columns
    of the input that the model does not know are refused, ignored or copied to the output (`extra`); those named in
    `keep` are copied in any case, as identifiers are. `key` names the job: the same key is the same job (empty: a
    digest of everything here). `reference` is a table whose distributions the input is compared with; without it
    those of training are. `time` names the column with each row's moment: features that the model reads and the table
    lacks are then those known at that moment; without it those known now. `most_bad` is the share of rows that may be
    quarantined before the job fails. `threads` of 0 is what the settings say.
    """

    input: str
    output: str
    key: str = ""
    chunk_rows: int = 50_000
    keep: Sequence[str] = ()
    extra: Extra = "refuse"
    delimiter: str = ","
    reference: str = ""
    most_bad: float = 0.5
    threads: int = 0
    picture: bool = True
    overwrite: bool = False
    resume: bool = False
    time: str = ""


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """How far a column is from its reference. PSI (population stability index): below 0.1 alike, above 0.25 another.

    `verdict` is `stable`, `shifted` or `drifted`; `missing` is the share of absent values.
    """

    column: str
    psi: float
    verdict: Literal["stable", "shifted", "drifted"]
    missing: float


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What a finished job did. `histogram` counts predicted probabilities in twenty equal bins from 0 to 1.

    `problems` counts the quarantined rows by what was wrong first; `drift` is empty where there is no reference,
    and `reference` says which it was. Paths of files that were not written are empty.
    """

    rows: int
    predicted: int
    quarantined: int
    seconds: float
    rows_per_second: float
    problems: Mapping[str, int]
    mean: float | None
    histogram: Sequence[int]
    labels: Mapping[str, int]
    drift: Sequence[ColumnDrift]
    prediction_drift: ColumnDrift | None
    reference: str
    input_sha256: str
    output_sha256: str
    quarantine: str
    picture: str
    resumed: int


@dataclass(frozen=True, slots=True)
class BatchProblem:
    """Why a job failed: the error's code, its detail and what to do."""

    code: str
    detail: str
    next_step: str


@dataclass(frozen=True, slots=True)
class BatchJob:
    """A job as it stands. `version` is the one pinned when it began; `rows_total` an estimate, 0 while unknown.

    `interrupted` is a job whose process is gone: it goes on where it stopped when it is run with `resume`.
    """

    id: str
    key: str
    model: str
    version: str
    state: BatchState
    order: BatchOrder
    requested_by: str
    created_at: datetime
    updated_at: datetime
    rows_total: int
    rows: int
    quarantined: int
    chunks: int
    problem: BatchProblem | None = None
    report: BatchReport | None = None
    reused: bool = field(default=False)


class Batches(Protocol):
    """Batch jobs of the caller's tenant."""

    @action("serving:batch", effect="write", resource="Model", by="model", seconds=3600)
    async def submit_batch(self, ctx: Context, model: str, order: BatchOrder) -> BatchJob:
        """A queued job, which this process works off in the background and takes up again after a restart.

        The same key gives the same job: one that is done is given back (`reused`) and not done again, one that was
        interrupted goes on if `resume` is set. Raises NotFound, InvalidInput (the file, its columns, a path outside
        the configured folders), Conflict (the key stands for something else, the output exists or is being written).
        """
        ...

    @action("serving:batch", effect="write", resource="Model", by="model", seconds=604_800)
    def run_batch(self, ctx: Context, model: str, order: BatchOrder) -> AsyncIterator[BatchJob]:
        """The job as it stands after every chunk, done here and now; the last one carries the report.

        Leaving the iterator interrupts the job. Raises what `submit_batch` raises, and what made the job fail.
        """
        ...

    @action("serving:read_batches", effect="read", resource="Batch")
    async def batches(self, ctx: Context, *, limit: int = 50) -> Sequence[BatchJob]:
        """The newest jobs (1 to 500), newest first."""
        ...

    @action("serving:read_batches", effect="read", resource="Batch", by="job")
    async def batch_job(self, ctx: Context, job: str) -> BatchJob:
        """One job. Raises NotFound."""
        ...

    @action("serving:cancel_batch", effect="write", resource="Batch", by="job")
    async def cancel_batch(self, ctx: Context, job: str) -> BatchJob:
        """Stop a job after the chunk under way; its output never appears. Raises NotFound, Conflict (it has ended)."""
        ...
