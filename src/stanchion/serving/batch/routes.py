"""Batch jobs over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from ...core.context import Context
from ...core.http import context_of
from ..contract import Batches, BatchJob, BatchOrder, BatchState, Extra

Caller = Annotated[Context, Depends(context_of)]
JobId = Annotated[str, Path(max_length=64, description="The job's id.")]


class BatchBody(BaseModel):
    """A table to predict. Paths are those of the process that serves, in the folders it is configured for."""

    model_config = ConfigDict(extra="forbid")

    model_id: str = Field(min_length=1, max_length=256, description="`name`, `name@alias` or `name@1.4.0`.")
    input: str = Field(description="A CSV or Parquet file, or the folder of a Delta table.")
    output: str = Field(description="The file to write, `.parquet` or `.csv`.")
    key: str = Field("", max_length=200, description="Names the job: the same key is the same job.")
    chunk_rows: int = Field(50_000, ge=100, le=1_000_000, description="Rows worked on at once.")
    keep: list[str] = Field([], max_length=1000, description="Columns to copy to the output, besides identifiers.")
    extra: Extra = Field("refuse", description="What becomes of columns that the model does not know.")
    delimiter: str = Field(",", min_length=1, max_length=1, description="What separates the cells of a CSV file.")
    reference: str = Field("", description="A table to compare the distributions with; empty: those of training.")
    most_bad: float = Field(0.5, ge=0, le=1, description="Share of rows that may be quarantined.")
    picture: bool = Field(True, description="Draw the report as well.")
    overwrite: bool = Field(False, description="Replace an output that exists.")
    time: str = Field(
        "", max_length=256, description="The column with each row's moment, by which lacking features are looked up."
    )
    resume: bool = Field(False, description="Go on with a job of the same key that was interrupted.")


class BatchJobItem(BaseModel):
    """A batch job as it stands."""

    id: str
    key: str
    model: str
    version: str = Field(description="The version pinned when the job began.")
    state: BatchState
    input: str
    output: str
    requested_by: str
    created_at: datetime
    updated_at: datetime
    rows_total: int = Field(description="An estimate for CSV; 0 while unknown.")
    rows: int
    quarantined: int
    chunks: int
    reused: bool = Field(description="Whether this very job had been done before.")
    problem: dict[str, Any] | None
    report: dict[str, Any] | None


class BatchJobList(BaseModel):
    """Batch jobs, newest first."""

    data: list[BatchJobItem]


def add_batches(api: APIRouter, batches: Batches) -> None:
    """Add the routes over a gated serving."""

    @api.post("/v1/serving/batches", status_code=202)
    async def submit_batch(ctx: Caller, body: BatchBody) -> BatchJobItem:
        """Queue a batch job; it is worked off in the background."""
        given = body.model_dump(exclude={"model_id"})
        return _item(await batches.submit_batch(ctx, body.model_id, BatchOrder(**given)))

    @api.get("/v1/serving/batches")
    async def list_batches(ctx: Caller, limit: Annotated[int, Query(ge=1, le=500)] = 50) -> BatchJobList:
        """The newest batch jobs."""
        return BatchJobList(data=[_item(job) for job in await batches.batches(ctx, limit=limit)])

    @api.get("/v1/serving/batches/{job}")
    async def show_batch(ctx: Caller, job: JobId) -> BatchJobItem:
        """One batch job, with its report when it is done."""
        return _item(await batches.batch_job(ctx, job))

    @api.post("/v1/serving/batches/{job}/cancel")
    async def cancel_batch(ctx: Caller, job: JobId) -> BatchJobItem:
        """Stop a batch job; its output never appears."""
        return _item(await batches.cancel_batch(ctx, job))


def _item(job: BatchJob) -> BatchJobItem:
    plain: dict[str, Any] = msgspec.to_builtins(job)
    order = plain.pop("order")
    return BatchJobItem.model_validate({**plain, "input": order["input"], "output": order["output"]})
