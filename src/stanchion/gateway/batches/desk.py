"""The rules of batches, and the loop in which this process takes them up, one process for each at a time."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from ...core.clock import Clock, micros
from ...core.context import Context, new_request_id
from ...core.errors import Conflict, FieldProblem, InvalidInput, StanchionError
from ...core.http.door import Book
from ...core.security.vault import Vault
from ...core.storage import Blobs, Database
from ...core.tasks import end_tasks
from ..contract.batches import ENDPOINTS, BatchFile, CallBatch, CallBatches, CallBatchOrder
from ..contract.gateway import Gateway
from .author import author_of
from .calling import TAG
from .files import BatchFiles
from .pacing import Load, Turns
from .standing import Standing
from .store import BatchStore, Held, TakenOver
from .work import Tools, Work

_WINDOW = timedelta(hours=24)
_SWEEP_SECONDS = 3_600.0
_METADATA = (16, 64, 512)
_MOST_TAGS = 15  # and the batch's own
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What batches may take. `parallel` calls at once in this process, `at_once` batches, `seconds` for one call.

    `most_bytes` are those of a tenant's files together. `lease`, `poll` and the `grace` of calls under way
    when the process ends are in seconds.
    """

    parallel: int = 8
    at_once: int = 8
    seconds: float = 300.0
    lines: int = 50_000
    most_bytes: int = 2 << 30
    keep: timedelta = timedelta(days=30)
    lease: float = 15.0
    poll: float = 2.0
    grace: float = 10.0


class BatchDesk(CallBatches):
    """Takes files and orders, and works batches off in the background once it knows the gateway's own door."""

    def __init__(
        self, database: Database, blobs: Blobs, vault: Vault, clock: Clock, *, limits: BatchLimits | None = None
    ) -> None:
        self._limits = limits = limits or BatchLimits()
        self._files = BatchFiles(database, blobs, vault, clock, most=limits.most_bytes, keep=limits.keep)
        self._store = BatchStore(database, clock, holder=new_request_id(), lease=limits.lease)
        self._vault = vault
        self._standing = Standing(database, clock)
        self._clock = clock
        self.load = Load()
        self._tools: Tools | None = None
        self._works: dict[str, Work] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None
        self._some = asyncio.Event()

    def enter(self, gateway: Gateway, book: Book) -> None:
        """Make every call through this door, and write it down in this book."""
        limits = self._limits
        self._tools = Tools(
            gateway=gateway,
            book=book,
            store=self._store,
            files=self._files,
            vault=self._vault,
            turns=Turns(self.load, limits.parallel),
            standing=self._standing,
            clock=self._clock,
            parallel=limits.parallel,
            seconds=limits.seconds,
            lines=limits.lines,
        )

    async def start(self) -> None:
        """Begin to take up batches; those that another process left are among them."""
        if self._tools is not None and self._loop is None:
            self._loop = asyncio.create_task(self._run(self._tools), name="gateway-batches")

    async def stop(self) -> None:
        """Begin no further call, give those under way a moment, and leave the batches to others."""
        if self._loop is None:
            return
        await end_tasks(self._loop)
        self._loop = None
        for work in self._works.values():
            work.leave()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self._limits.grace)
            await end_tasks(*late)

    # -- files

    async def add_file(
        self, ctx: Context, filename: str, content: bytes, *, keep_seconds: int | None = None
    ) -> BatchFile:
        if keep_seconds is not None and keep_seconds < 1:
            raise InvalidInput("a file is kept for a second at least", fields=[_fault("keep_seconds", "Expected 1 up")])
        return await self._files.add(ctx, filename, content, keep_seconds)

    async def files(
        self, ctx: Context, *, after: str = "", limit: int = 100, purpose: str = "", oldest_first: bool = False
    ) -> Sequence[BatchFile]:
        return await self._files.page(ctx, after=after, limit=limit, purpose=purpose, oldest_first=oldest_first)

    async def file(self, ctx: Context, file: str) -> BatchFile:
        return await self._files.find(ctx, file)

    async def file_content(self, ctx: Context, file: str) -> AsyncIterator[bytes]:
        async for part in self._files.content(ctx, file):
            yield part

    async def delete_file(self, ctx: Context, file: str) -> None:
        await self._files.remove(ctx, file)

    # -- batches

    async def create_batch(self, ctx: Context, order: CallBatchOrder) -> CallBatch:
        _check(order)
        file = await self._files.find(ctx, order.input_file)
        if file.purpose != "batch":
            raise InvalidInput("the file holds answers", fields=[_fault("input_file_id", "Expected a file of calls")])
        if self._tools is None:
            raise Conflict("no batch is worked off here", next_step="Declare a model: a system without any calls none.")
        now = self._clock.now()
        batch = CallBatch(
            id=f"batch_{new_request_id()}",
            endpoint=order.endpoint,
            input_file=file.id,
            state="validating",
            created_at=now,
            expires_at=now + _WINDOW,
            metadata=order.metadata,
        )
        if ctx.effect is not None:
            ctx.effect.note(batch=batch.id, endpoint=order.endpoint, file=file.id)
        made = await self._store.add(ctx, batch, author=author_of(ctx), tags=dict(order.tags))
        self._some.set()
        return made

    async def batches(self, ctx: Context, *, after: str = "", limit: int = 20) -> Sequence[CallBatch]:
        return await self._store.page(ctx, after=after, limit=limit)

    async def batch(self, ctx: Context, batch: str) -> CallBatch:
        return await self._store.find(ctx, batch)

    async def cancel_batch(self, ctx: Context, batch: str) -> CallBatch:
        found = await self._store.cancel(ctx, batch)
        work = self._works.get(found.id)
        if work is not None:
            work.cancel()
        self._some.set()
        return found

    # -- the loop

    async def _run(self, tools: Tools) -> None:
        swept = -_SWEEP_SECONDS
        while True:
            try:
                if self._clock.monotonic() - swept >= _SWEEP_SECONDS:
                    swept = self._clock.monotonic()
                    await self._sweep()
                await self._renew()
                while len(self._works) < self._limits.at_once and (held := await self._claimed()) is not None:
                    self._begin(tools, held)
            except StanchionError as error:
                _log.warning("batches could not be taken up: %s", error.detail)
            self._some.clear()
            try:
                # Not `wait_for`: before Python 3.12 it takes no notice of a cancellation in the moment of the event.
                async with asyncio.timeout(min(self._limits.poll, self._limits.lease / 3)):
                    await self._some.wait()
            except TimeoutError:
                continue

    async def _claimed(self) -> Held | None:
        return await self._store.claim(Counter(work.held.tenant for work in self._works.values()))

    async def _renew(self) -> None:
        for work in list(self._works.values()):
            try:
                if await self._store.renew(work.held) == "cancelling":
                    work.cancel()
            except TakenOver:
                _log.warning("the batch %s was taken over by another process", work.held.batch.id)
                work.leave()

    def _begin(self, tools: Tools, held: Held) -> None:
        work = self._works[held.batch.id] = Work(tools, held)
        task = asyncio.create_task(self._worked(work), name=f"gateway-{held.batch.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _worked(self, work: Work) -> None:
        held, sound = work.held, True
        try:
            await work.run()
        except* TakenOver:
            _log.warning("the batch %s goes on in another process", held.batch.id)
        except* Exception as faults:
            sound = False
            _log.error("the batch %s stopped: %s", held.batch.id, faults, exc_info=faults)
        finally:
            self._works.pop(held.batch.id, None)
            self._some.set()
        # What failed is taken up again when its lease ends, here or elsewhere: a fault that stays is met once a lease.
        if sound:
            await self._store.let_go(held)

    async def _sweep(self) -> None:
        swept = 1
        while swept:
            swept = await self._files.sweep()
        await self._store.sweep(micros(self._clock.now() - self._limits.keep))


def _check(order: CallBatchOrder) -> None:
    """Raises InvalidInput."""
    faults = []
    if order.endpoint not in ENDPOINTS:
        faults.append(_fault("endpoint", f"Expected one of {', '.join(ENDPOINTS)}"))
    if not _ID.fullmatch(order.input_file):
        faults.append(_fault("input_file_id", "Expected the id of a file"))
    most, name, value = _METADATA
    if len(order.metadata) > most or not _short(order.metadata, name, value):
        faults.append(_fault("metadata", f"Expected at most {most} pairs, names of {name} and values of {value}"))
    if len(order.tags) > _MOST_TAGS or TAG in order.tags:
        faults.append(_fault("tags", f"Expected at most {_MOST_TAGS} tags, and none named {TAG}"))
    if faults:
        raise InvalidInput(f"{faults[0].path}: {faults[0].message}", fields=faults)


def _short(pairs: Mapping[str, str], name: int, value: int) -> bool:
    return all(len(key) <= name and len(text) <= value and "\0" not in key + text for key, text in pairs.items())


def _fault(name: str, message: str) -> FieldProblem:
    return FieldProblem(f"$.{name}", message)
