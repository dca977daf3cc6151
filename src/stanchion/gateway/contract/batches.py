"""Batches: many calls in one file, made within a day, beside the live ones and behind them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from ...core.context import Context
from ...core.contract import action
from .calls import Shape, Usage

ENDPOINTS: Mapping[str, Shape] = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completions",
    "/v1/responses": "responses",
    "/v1/embeddings": "embeddings",
    "/v1/messages": "messages",
    "/v1/rerank": "rerank",
}
"""What the lines of a batch may ask for."""

_UNUSED = Usage()
FilePurpose = Literal["batch", "batch_output"]
CallBatchState = Literal[
    "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
]


@dataclass(frozen=True, slots=True)
class BatchFile:
    """A file of calls, or of their answers. `size` is in bytes; it is gone at `expires_at`."""

    id: str
    filename: str
    purpose: FilePurpose
    size: int
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class CallBatchOrder:
    """What is to be done: the calls of a file, all to one endpoint.

    `metadata` are up to 16 words of the caller's own. `tags` mark every call, as `x-stanchion-tags` does.
    """

    input_file: str
    endpoint: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BatchFault:
    """Why a batch as a whole failed. `line` counts from 1."""

    code: str
    message: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
class CallBatch:
    """A batch as it stands. `moments` tells when it came into a state.

    Of `total` lines so many have an answer (`completed`), and so many an error (`failed`). `usage` and `cost`
    (picodollars) are those of the answers. `output_file` and `error_file` are ids; empty where there is no such line.
    """

    id: str
    endpoint: str
    input_file: str
    state: CallBatchState
    created_at: datetime
    expires_at: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)
    moments: Mapping[CallBatchState, datetime] = field(default_factory=dict)
    total: int = 0
    completed: int = 0
    failed: int = 0
    usage: Usage = _UNUSED
    cost: int = 0
    output_file: str = ""
    error_file: str = ""
    faults: tuple[BatchFault, ...] = ()


class CallBatches(Protocol):
    """The caller's own files and batches: another principal's, of whichever tenant, are not found.

    Lists are ordered by time and then id, newest first; `after` is the id of the last item of the page before.
    """

    @action("gateway:batch", effect="write", resource="BatchFile")
    async def add_file(
        self, ctx: Context, filename: str, content: bytes, *, keep_seconds: int | None = None
    ) -> BatchFile:
        """Keep a file of calls, at most for as long as the system keeps any.

        Raises InvalidInput for an empty one, PayloadTooLarge where the tenant's files would hold too much.
        """
        ...

    @action("gateway:read", effect="read", resource="BatchFile")
    async def files(
        self, ctx: Context, *, after: str = "", limit: int = 100, purpose: str = "", oldest_first: bool = False
    ) -> Sequence[BatchFile]:
        """The files, 1 to 10,000 of them. Raises InvalidInput, NotFound for an unknown `after`."""
        ...

    @action("gateway:read", effect="read", resource="BatchFile", by="file")
    async def file(self, ctx: Context, file: str) -> BatchFile:
        """One file. Raises NotFound."""
        ...

    @action("gateway:read", effect="read", resource="BatchFile", by="file")
    def file_content(self, ctx: Context, file: str) -> AsyncIterator[bytes]:
        """Its bytes in pieces of a few megabytes. Raises NotFound."""
        ...

    @action("gateway:batch", effect="write", resource="BatchFile", by="file")
    async def delete_file(self, ctx: Context, file: str) -> None:
        """Remove it. Raises NotFound, and Conflict while a batch reads it."""
        ...

    @action("gateway:batch", effect="write", resource="CallBatch")
    async def create_batch(self, ctx: Context, order: CallBatchOrder) -> CallBatch:
        """Begin a batch: its calls are made with the caller's present rights, budgets and labels, for as long as its
        key has them. What a line is refused for then stands in the error file.

        Raises NotFound for an unknown file, InvalidInput, Conflict where the system declares no model.
        """
        ...

    @action("gateway:read", effect="read", resource="CallBatch")
    async def batches(self, ctx: Context, *, after: str = "", limit: int = 20) -> Sequence[CallBatch]:
        """The batches, 1 to 100 of them. Raises InvalidInput, NotFound for an unknown `after`."""
        ...

    @action("gateway:read", effect="read", resource="CallBatch", by="batch")
    async def batch(self, ctx: Context, batch: str) -> CallBatch:
        """One batch. Raises NotFound."""
        ...

    @action("gateway:batch", effect="write", resource="CallBatch", by="batch")
    async def cancel_batch(self, ctx: Context, batch: str) -> CallBatch:
        """Make no further call; those under way come to their end. Raises NotFound, Conflict for one that has ended."""
        ...
