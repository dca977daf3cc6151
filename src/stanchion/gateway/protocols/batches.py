"""Files and batches over HTTP, as OpenAI has them: its stock clients work as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, File, Form, Header, Path, Query, UploadFile
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from ...core.context import Context
from ...core.http import context_of
from ..contract.batches import BatchFile, CallBatch, CallBatches, CallBatchOrder, CallBatchState, FilePurpose
from .endpoints import tags_of

Caller = Annotated[Context, Depends(context_of)]
FileId = Annotated[str, Path(max_length=64, description="The file's id.")]
BatchId = Annotated[str, Path(max_length=64, description="The batch's id.")]
After = Annotated[str, Query(max_length=64, description="The last id of the page before.")]
Kept = Annotated[
    int | None,
    Form(alias="expires_after[seconds]", ge=3_600, le=2_592_000, description="Seconds for which the file is kept."),
]
Anchor = Annotated[Literal["created_at"] | None, Form(alias="expires_after[anchor]", description="Since when.")]
Purpose = Annotated[Literal["batch"], Form(description="What the file is for.")]
Upload = Annotated[UploadFile, File(description="JSON lines: `custom_id`, `method`, `url` and `body` in each.")]
Tags = Annotated[str, Header(alias="x-stanchion-tags", max_length=8_192, description="Tags of every call.")]


class FileItem(BaseModel):
    """A file. Times are seconds since the epoch."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: FilePurpose
    status: Literal["processed"] = "processed"


class FileList(BaseModel):
    """A page of files."""

    object: Literal["list"] = "list"
    data: list[FileItem]
    first_id: str | None
    last_id: str | None
    has_more: bool


class Deleted(BaseModel):
    """A file that is gone."""

    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True


class BatchRequest(BaseModel):
    """A batch to begin."""

    model_config = ConfigDict(extra="forbid")

    input_file_id: str = Field(max_length=64, description="A file that was uploaded with the purpose `batch`.")
    endpoint: str = Field(max_length=64, description="What its lines ask for, such as `/v1/chat/completions`.")
    completion_window: Literal["24h"] = Field(description="How long it may take.")
    metadata: dict[str, str] | None = Field(None, description="Up to 16 words of your own.")


class RequestCounts(BaseModel):
    """How many lines there are, have an answer, and have an error."""

    total: int
    completed: int
    failed: int


class FaultItem(BaseModel):
    """Why the batch failed as a whole."""

    code: str
    message: str
    line: int | None
    param: None = None


class Faults(BaseModel):
    """Why the batch failed as a whole, in the order of lines."""

    object: Literal["list"] = "list"
    data: list[FaultItem]


class Cached(BaseModel):
    """Details of the input."""

    cached_tokens: int


class Reasoned(BaseModel):
    """Details of the output."""

    reasoning_tokens: int


class Tokens(BaseModel):
    """Tokens of the answers."""

    input_tokens: int
    input_tokens_details: Cached
    output_tokens: int
    output_tokens_details: Reasoned
    total_tokens: int


class BatchItem(BaseModel):
    """A batch. Times are seconds since the epoch; `cost` is in US dollars, as decimal text."""

    id: str
    object: Literal["batch"] = "batch"
    endpoint: str
    input_file_id: str
    completion_window: Literal["24h"] = "24h"
    status: CallBatchState
    output_file_id: str | None
    error_file_id: str | None
    errors: Faults | None
    created_at: int
    expires_at: int
    in_progress_at: int | None
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: RequestCounts
    usage: Tokens
    metadata: dict[str, str] | None
    cost: str


class BatchList(BaseModel):
    """A page of batches."""

    object: Literal["list"] = "list"
    data: list[BatchItem]
    first_id: str | None
    last_id: str | None
    has_more: bool


def batch_routes(batches: CallBatches) -> APIRouter:
    """The routes over a gated gateway."""
    api = APIRouter(prefix="/v1", tags=["batches"])
    _files(api, batches)
    _batches(api, batches)
    return api


def _files(api: APIRouter, batches: CallBatches) -> None:
    @api.post("/files")
    async def create_file(
        ctx: Caller, file: Upload, purpose: Purpose, anchor: Anchor = None, seconds: Kept = None
    ) -> FileItem:
        """Upload a file of calls."""
        return _file(await batches.add_file(ctx, file.filename or "", await file.read(), keep_seconds=seconds))

    @api.get("/files")
    async def list_files(
        ctx: Caller,
        after: After = "",
        limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
        order: Literal["asc", "desc"] = "desc",
        purpose: Annotated[str, Query(max_length=64)] = "",
    ) -> FileList:
        """Your files."""
        most = min(limit, 9_999) + 1
        found = await batches.files(ctx, after=after, limit=most, purpose=purpose, oldest_first=order == "asc")
        shown = found[: most - 1]
        return FileList(data=[_file(each) for each in shown], has_more=len(found) == most, **_ends(shown))

    @api.get("/files/{file_id}")
    async def get_file(ctx: Caller, file_id: FileId) -> FileItem:
        """One of your files."""
        return _file(await batches.file(ctx, file_id))

    @api.delete("/files/{file_id}")
    async def delete_file(ctx: Caller, file_id: FileId) -> Deleted:
        """Delete one of your files."""
        await batches.delete_file(ctx, file_id)
        return Deleted(id=file_id)

    @api.get("/files/{file_id}/content", response_class=StreamingResponse)
    async def get_file_content(ctx: Caller, file_id: FileId) -> StreamingResponse:
        """The bytes of one of your files."""
        found = await batches.file(ctx, file_id)
        content = batches.file_content(ctx, file_id)
        headers = {"content-length": str(found.size)}
        return StreamingResponse(content, media_type="application/octet-stream", headers=headers)


def _batches(api: APIRouter, batches: CallBatches) -> None:
    @api.post("/batches")
    async def create_call_batch(ctx: Caller, body: BatchRequest, tags: Tags = "") -> BatchItem:
        """Begin a batch of the calls in a file."""
        marks = tags_of(tags) if tags else {}
        order = CallBatchOrder(body.input_file_id, body.endpoint, body.metadata or {}, marks)
        return _batch(await batches.create_batch(ctx, order))

    @api.get("/batches")
    async def list_call_batches(
        ctx: Caller, after: After = "", limit: Annotated[int, Query(ge=1, le=100)] = 20
    ) -> BatchList:
        """Your batches, newest first."""
        most = min(limit, 99) + 1
        found = await batches.batches(ctx, after=after, limit=most)
        shown = found[: most - 1]
        return BatchList(data=[_batch(each) for each in shown], has_more=len(found) == most, **_ends(shown))

    @api.get("/batches/{batch_id}")
    async def get_call_batch(ctx: Caller, batch_id: BatchId) -> BatchItem:
        """One of your batches."""
        return _batch(await batches.batch(ctx, batch_id))

    @api.post("/batches/{batch_id}/cancel")
    async def cancel_call_batch(ctx: Caller, batch_id: BatchId) -> BatchItem:
        """Make no further call of a batch."""
        return _batch(await batches.cancel_batch(ctx, batch_id))


def _ends(shown: Sequence[BatchFile] | Sequence[CallBatch]) -> dict[str, Any]:
    return {"first_id": shown[0].id if shown else None, "last_id": shown[-1].id if shown else None}


def _file(file: BatchFile) -> FileItem:
    return FileItem(
        id=file.id,
        bytes=file.size,
        created_at=_seconds(file.created_at),
        expires_at=_seconds(file.expires_at),
        filename=file.filename,
        purpose=file.purpose,
    )


def _batch(batch: CallBatch) -> BatchItem:
    used = batch.usage
    faults = [FaultItem(code=each.code, message=each.message, line=each.line) for each in batch.faults]
    return BatchItem(
        id=batch.id,
        endpoint=batch.endpoint,
        input_file_id=batch.input_file,
        status=batch.state,
        output_file_id=batch.output_file or None,
        error_file_id=batch.error_file or None,
        errors=Faults(data=faults) if faults else None,
        created_at=_seconds(batch.created_at),
        expires_at=_seconds(batch.expires_at),
        **_moments(batch.moments),
        request_counts=RequestCounts(total=batch.total, completed=batch.completed, failed=batch.failed),
        usage=Tokens(
            input_tokens=used.tokens_in,
            input_tokens_details=Cached(cached_tokens=used.cached),
            output_tokens=used.tokens_out,
            output_tokens_details=Reasoned(reasoning_tokens=used.reasoning),
            total_tokens=used.tokens_in + used.tokens_out,
        ),
        metadata=dict(batch.metadata) or None,
        cost="{}.{:012}".format(*divmod(batch.cost, 10**12)),
    )


_ENTERED: Sequence[CallBatchState] = (
    "in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled",
)  # fmt: skip


def _moments(moments: Mapping[CallBatchState, datetime]) -> dict[str, Any]:
    return {f"{state}_at": _seconds(moments[state]) if state in moments else None for state in _ENTERED}


def _seconds(at: datetime) -> int:
    return int(at.timestamp())
