"""A whole audit log over a real database, and the means to look at it from outside."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Connection

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context, Effect, system_context
from stanchion.core.security.audit.file_sink import FileSink
from stanchion.core.security.audit.journal import AuditJournal
from stanchion.core.security.audit.ports import CheckpointSink
from stanchion.core.security.audit.service import AuditLog
from stanchion.core.security.signing import Signer
from stanchion.core.storage.contract import Database
from stanchion.core.storage.open import open_database


@dataclass
class Rig:
    """One process's audit log."""

    url: str
    notes: Path
    signer: Signer
    db: Database
    journal: AuditJournal
    log: AuditLog
    closed: bool = False

    @property
    def file(self) -> Path:
        return Path(self.url.removeprefix("sqlite://"))

    def effect(self, number: int = 0, *, tenant: str = "acme", action: str = "things:make") -> Effect:
        return Effect(
            action=action,
            kind="write",
            resource=f"Thing::{number}",
            tenant=tenant,
            principal="key:anna",
            request_id=f"r{number}",
            trace_id=f"{number:032x}",
            facts={"number": number},
        )

    async def fill(self, count: int, *, tenant: str = "acme") -> None:
        """Record so many events (at most 250) in one commit, and wait until they are signed for."""
        before, held, queued = self.size, threading.Event(), threading.Event()

        def hold(connection: Connection) -> None:
            held.set()
            queued.wait(60)

        # The writer is held until all are asked for: it would else commit some apart, under another checkpoint. It must
        # be at it before the first is asked for, or it takes as many along as happen to be there.
        holder = asyncio.create_task(self.db.write(system_context(tenant, task="hold"), hold))
        await until(held.is_set)
        events = [asyncio.create_task(self.log.record(self.effect(n, tenant=tenant), "done")) for n in range(count)]
        await asyncio.sleep(0)
        queued.set()
        await asyncio.gather(holder, *events)
        await self.signed(before + count)

    @property
    def size(self) -> int:
        newest = self.journal.newest
        return -1 if newest is None else newest.checkpoint.size

    async def signed(self, size: int) -> None:
        """Wait for the checkpoint, which is made just after the writers were answered."""
        await until(lambda: self.size >= size)

    async def close(self) -> None:
        if not self.closed:
            self.closed = True
            await self.db.close()
            await self.log.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does: it has no event to wait for."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


Open = Callable[..., Awaitable[Rig]]


@pytest.fixture(name="until")
def until_fixture() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    return until


@pytest.fixture
def ctx() -> Context:
    return Context(tenant="acme", principal="key:auditor")


@pytest.fixture
async def open_rig(tmp_path: Path) -> AsyncIterator[Open]:
    """Opens the log of a database, ready to record unless `heal` is false."""
    signer = Signer.generate()
    async with AsyncExitStack() as stack:

        async def opened(
            url: str = f"sqlite://{tmp_path}/audit.db",
            *,
            heal: bool = True,
            signer: Signer = signer,
            sinks: Sequence[CheckpointSink] = (),
            notes: Path = tmp_path / "checkpoints.jsonl",
            trusted: Sequence[bytes] = (),
        ) -> Rig:
            clock = SystemClock()
            journal = AuditJournal(signer, sinks or [FileSink(notes, clock)], clock, trusted=trusted)
            db = open_database(url, journal=journal)
            rig = Rig(url, notes, signer, db, journal, AuditLog(db, journal, clock))
            stack.push_async_callback(rig.close)
            await rig.log.prepare()
            if heal:
                await rig.log.heal()
            return rig

        yield opened


@pytest.fixture
async def rig(open_rig: Open) -> Rig:
    return await open_rig()


@pytest.fixture
async def filled(open_rig: Open) -> Rig:
    """A log of 300 events in three checkpoints, closed and opened again only to look."""
    writer = await open_rig()
    for _ in range(3):
        await writer.fill(100)
    await writer.close()
    return await open_rig(heal=False)
