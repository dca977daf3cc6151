"""Files and batches of the gateway, answered by their own desk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from ..core.context import Context
from ..core.http.door import Book
from .batches.desk import BatchDesk
from .contract.batches import BatchFile, CallBatch, CallBatches, CallBatchOrder
from .contract.gateway import Gateway


class Batching(CallBatches):
    """Hands every question on."""

    def __init__(self, batches: BatchDesk) -> None:
        self._batches = batches
        self._load = batches.load

    def enter(self, gateway: Gateway, book: Book) -> None:
        """Know one's own door: the calls of batches pass the gate as their authors."""
        self._batches.enter(gateway, book)

    async def add_file(
        self, ctx: Context, filename: str, content: bytes, *, keep_seconds: int | None = None
    ) -> BatchFile:
        return await self._batches.add_file(ctx, filename, content, keep_seconds=keep_seconds)

    async def files(
        self, ctx: Context, *, after: str = "", limit: int = 100, purpose: str = "", oldest_first: bool = False
    ) -> Sequence[BatchFile]:
        return await self._batches.files(ctx, after=after, limit=limit, purpose=purpose, oldest_first=oldest_first)

    async def file(self, ctx: Context, file: str) -> BatchFile:
        return await self._batches.file(ctx, file)

    async def file_content(self, ctx: Context, file: str) -> AsyncIterator[bytes]:
        async for part in self._batches.file_content(ctx, file):
            yield part

    async def delete_file(self, ctx: Context, file: str) -> None:
        await self._batches.delete_file(ctx, file)

    async def create_batch(self, ctx: Context, order: CallBatchOrder) -> CallBatch:
        return await self._batches.create_batch(ctx, order)

    async def batches(self, ctx: Context, *, after: str = "", limit: int = 20) -> Sequence[CallBatch]:
        return await self._batches.batches(ctx, after=after, limit=limit)

    async def batch(self, ctx: Context, batch: str) -> CallBatch:
        return await self._batches.batch(ctx, batch)

    async def cancel_batch(self, ctx: Context, batch: str) -> CallBatch:
        return await self._batches.cancel_batch(ctx, batch)
