"""Files of calls and answers: told of in SQL, their content sealed in blobs, in parts of a few megabytes."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, Update, delete, exists, func, insert, select, tuple_, update

from ...core.clock import Clock, micros, moment
from ...core.context import Context, new_request_id, system_context
from ...core.errors import Conflict, FieldProblem, InvalidInput, NotFound, PayloadTooLarge
from ...core.security.vault import Vault
from ...core.storage import Blobs, Database
from ..contract.batches import BatchFile, FilePurpose
from ..money.subjects import storable
from .tables import batches, files

PART = 4 << 20
OPEN = ("validating", "in_progress", "finalizing", "cancelling")
_UNFINISHED = timedelta(hours=24)
_LONGEST_NAME = 255
_SWEPT = 200


class BatchFiles:
    """The files of all tenants. `most` are the bytes that one tenant's may hold together."""

    def __init__(
        self, database: Database, blobs: Blobs, vault: Vault, clock: Clock, *, most: int, keep: timedelta
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._vault = vault
        self._clock = clock
        self._most = most
        self._keep = keep

    async def add(self, ctx: Context, filename: str, content: bytes, keep_seconds: int | None) -> BatchFile:
        """See `CallBatches.add_file`."""
        if not content.strip():
            raise InvalidInput("the file is empty", fields=[FieldProblem("$.file", "Expected JSON lines")])
        held = await self._held(ctx.tenant)
        if held + len(content) > self._most:
            raise PayloadTooLarge(
                f"the tenant's files would hold more than {self._most} bytes", next_step="Delete files of no more use."
            )
        keep = self._keep if keep_seconds is None else min(self._keep, timedelta(seconds=keep_seconds))
        writer = await self.writer(ctx.tenant, ctx.principal, f"file-{new_request_id()}", filename, "batch", keep=keep)
        await writer.write(content)
        if ctx.effect is not None:
            ctx.effect.note(file=writer.id, bytes=len(content))
        return await self.publish(ctx, await writer.finished())

    async def writer(
        self,
        tenant: str,
        principal: str,
        file: str,
        filename: str,
        purpose: FilePurpose,
        *,
        keep: timedelta | None = None,
    ) -> Writer:
        """Begin a file of a new id."""
        now = self._clock.now()
        name = storable(filename)[:_LONGEST_NAME] or "unnamed"
        told = BatchFile(file, name, purpose, 0, now, now + (keep or self._keep))
        row = {
            "tenant": tenant,
            "id": file,
            "principal": principal,
            "filename": name,
            "purpose": purpose,
            "ready": False,
            "parts": 0,
            "size": 0,
            "created_at": micros(now),
            # Until it is whole it is rubbish, and is swept as such.
            "expires_at": micros(now + _UNFINISHED),
        }
        await self._database.write(_worker(tenant), lambda each: each.execute(insert(files).values(row)).rowcount)
        return Writer(self, tenant, told)

    async def find(self, ctx: Context, file: str) -> BatchFile:
        """See `CallBatches.file`."""
        return _file(await self._row(ctx, file))

    async def page(
        self, ctx: Context, *, after: str, limit: int, purpose: str, oldest_first: bool
    ) -> Sequence[BatchFile]:
        """See `CallBatches.files`."""
        if not 1 <= limit <= 10_000:
            raise InvalidInput("the limit is 1 to 10,000", fields=[FieldProblem("$.limit", "Expected 1 to 10,000")])
        c = files.c
        query = select(files).where(c.tenant == ctx.tenant, c.principal == ctx.principal, *self._live())
        if purpose:
            query = query.where(c.purpose == purpose)
        place = tuple_(c.created_at, c.id)
        if after:
            last = await self._row(ctx, after)
            at = tuple_(last.created_at, last.id)
            query = query.where(place > at if oldest_first else place < at)
        order = (c.created_at, c.id) if oldest_first else (c.created_at.desc(), c.id.desc())
        query = query.order_by(*order).limit(limit)
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return [_file(row) for row in rows]

    async def content(self, ctx: Context, file: str) -> AsyncIterator[bytes]:
        """See `CallBatches.file_content`."""
        row = await self._row(ctx, file)
        async for part in self.parts(ctx.tenant, file, row.parts):
            yield part

    async def parts(self, tenant: str, file: str, parts: int | None = None) -> AsyncIterator[bytes]:
        """The bytes of a tenant's file, whoever made it. Raises NotFound."""
        if parts is None:
            query = select(files.c.parts).where(_is(tenant, file), files.c.ready.is_(True))
            parts = await self._database.read(lambda connection: connection.execute(query).scalar())
            if parts is None:
                raise _unknown(file)
        for number in range(parts):
            sealed = await self._blobs.get(_blob(tenant, file, number))
            yield await self._vault.decrypt(tenant, _place(file, number), sealed)

    async def remove(self, ctx: Context, file: str) -> None:
        """See `CallBatches.delete_file`."""
        row = await self._row(ctx, file)
        c = batches.c
        reads = exists().where(c.tenant == ctx.tenant, c.input_file == file, c.state.in_(OPEN))

        # Out of sight first: a row that is left over is swept with its blobs, blobs without a row never.
        hide = update(files).where(_is(ctx.tenant, file), ~reads).values(expires_at=0)
        if not await self._database.write(ctx, lambda each: each.execute(hide).rowcount):
            raise Conflict(f"a batch reads the file {file}", next_step="Cancel the batch, or wait for its end.")
        await self._forget(ctx.tenant, file, row.parts)
        await self._database.write(_worker(ctx.tenant), _deleting(ctx.tenant, file))

    async def sweep(self) -> int:
        """Remove what has expired and what was never finished; how many files went."""
        c, now = files.c, micros(self._clock.now())
        # A batch that was resumed late still reads its file.
        b = batches.c
        reads = exists().where(b.tenant == c.tenant, b.input_file == c.id, b.state.in_(OPEN))
        query = select(c.tenant, c.id).where(c.expires_at <= now, ~reads).limit(_SWEPT)
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        for tenant, file in rows:
            await self._forget(tenant, file, None)
            await self._database.write(_worker(tenant), _deleting(tenant, file))
        return len(rows)

    async def _forget(self, tenant: str, file: str, parts: int | None) -> None:
        if parts is None:
            names = [name async for name in self._blobs.list(_blob(tenant, file, None))]
        else:
            names = [_blob(tenant, file, number) for number in range(parts)]
        for name in names:
            await self._blobs.delete(name)

    async def _held(self, tenant: str) -> int:
        query = select(func.coalesce(func.sum(files.c.size), 0)).where(files.c.tenant == tenant)
        return int(await self._database.read(lambda connection: connection.execute(query).scalar_one()))

    async def _row(self, ctx: Context, file: str) -> Row[Any]:
        query = select(files).where(_is(ctx.tenant, storable(file)), files.c.principal == ctx.principal, *self._live())
        row = await self._database.read(lambda connection: connection.execute(query).first())
        if row is None:
            raise _unknown(file)
        return row

    def _live(self) -> tuple[ColumnElement[bool], ...]:
        return files.c.ready.is_(True), files.c.expires_at > micros(self._clock.now())

    async def put_part(self, tenant: str, file: str, number: int, content: bytes) -> None:
        """Keep one part of a file that is being written."""
        sealed = await self._vault.encrypt(tenant, _place(file, number), content)
        await self._blobs.put(_blob(tenant, file, number), sealed)

    async def publish(self, ctx: Context, finished: Finished) -> BatchFile:
        """Make a file that has been written whole visible."""
        await self._database.write(ctx, lambda connection: connection.execute(finished.statement).rowcount)
        return finished.file


@dataclass(frozen=True, slots=True)
class Finished:
    """A file that has been written whole. `statement` makes it visible, in whichever transaction that is right."""

    file: BatchFile
    statement: Update


class Writer:
    """One file while it is written. It is seen by nobody before it is published."""

    def __init__(self, home: BatchFiles, tenant: str, told: BatchFile) -> None:
        self._home = home
        self._tenant = tenant
        self._told = told
        self._rest = bytearray()
        self._parts = self.size = 0

    @property
    def id(self) -> str:
        """The file's id."""
        return self._told.id

    async def write(self, content: bytes) -> None:
        """Add bytes."""
        self._rest += content
        self.size += len(content)
        while len(self._rest) >= PART:
            await self._put(bytes(self._rest[:PART]))
            del self._rest[:PART]

    async def finished(self) -> Finished:
        """The file, once all of it is durable."""
        if self._rest:
            await self._put(bytes(self._rest))
            self._rest.clear()
        told = self._told
        told = BatchFile(told.id, told.filename, told.purpose, self.size, _whole(told.created_at), told.expires_at)
        values = {"ready": True, "parts": self._parts, "size": told.size, "expires_at": micros(told.expires_at)}
        return Finished(told, update(files).where(_is(self._tenant, told.id)).values(values))

    async def _put(self, part: bytes) -> None:
        await self._home.put_part(self._tenant, self._told.id, self._parts, part)
        self._parts += 1


def _is(tenant: str, file: str) -> ColumnElement[bool]:
    return (files.c.tenant == tenant) & (files.c.id == file)


def _deleting(tenant: str, file: str) -> Any:
    statement = delete(files).where(_is(tenant, file))
    return lambda connection: connection.execute(statement).rowcount


def _worker(tenant: str) -> Context:
    return system_context(tenant, task="gateway-batches")


def _unknown(file: str) -> NotFound:
    return NotFound(f"there is no file {file[:64]!r}", next_step="List your files with GET /v1/files.")


def _blob(tenant: str, file: str, number: int | None) -> str:
    folder = f"gateway/files/{hashlib.sha256(tenant.encode()).hexdigest()[:16]}/{file}/"
    return folder if number is None else f"{folder}{number:05}"


def _place(file: str, number: int) -> str:
    return f"gateway/files/{file}/{number}"


def _file(row: Row[Any]) -> BatchFile:
    return BatchFile(row.id, row.filename, row.purpose, row.size, moment(row.created_at), moment(row.expires_at))


def _whole(at: datetime) -> datetime:
    """The moment as the database keeps it."""
    return moment(micros(at))
