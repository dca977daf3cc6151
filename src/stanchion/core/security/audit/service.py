"""The audit log as callers see it: events, verification, proofs, export, and the start after a crash."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial

import msgspec
from sqlalchemy import Connection, Select, select

from ...clock import Clock
from ...context import Context, Effect, system_context
from ...errors import Conflict, InvalidInput, NotFound, NotTrustworthy, Unavailable
from ...gate import Recorder
from ...storage.contract import Database
from ..contract import Audit, AuditEvent, AuditReport, InclusionProof
from .body import decode, event, shortened
from .checkpoint import Note
from .journal import AuditJournal, Told
from .proof import made
from .recovery import begin, continued, newest_note
from .tables import AUDIT_SCHEMA, EVENTS, StoredTree
from .verify import Faults, check, open_notes

MAX_EVENTS = 100
PAGE = 500
_ADVICE = (
    "Run `stanchion audit verify`. Restore database and checkpoints from one copy; if the checkpoints are lost for a "
    "known reason, start once with `adopt`."
)


class AuditLog(Recorder, Audit):
    """The audit log over a database whose journal is `journal`.

    To start: `await log.prepare()`, then `await log.heal()`. Before that, no effect is possible.
    """

    def __init__(self, db: Database, journal: AuditJournal, clock: Clock) -> None:
        self._db = db
        self._journal = journal
        self._clock = clock
        self._ctx = system_context("", task="audit")

    @property
    def degraded(self) -> str:
        """Why effects are refused at present; empty while all is well. For readiness checks."""
        return self._journal.degraded

    @property
    def size(self) -> int:
        """How many events this process's newest checkpoint covers."""
        newest = self._journal.newest
        return 0 if newest is None else newest.checkpoint.size

    async def prepare(self) -> None:
        """Make the tables. Raises Misconfigured if they are newer than this program."""
        await self._db.prepare(AUDIT_SCHEMA)

    async def run(self) -> None:
        """Bring checkpoints to the sinks that take their time, until cancelled."""
        await asyncio.gather(*(sink.run() for sink in self._journal.sinks))

    async def close(self) -> None:
        """Make the checkpoints durable. Close the database before: its last commits are signed for, too."""
        for sink in self._journal.sinks:
            await sink.close()

    async def record(self, effect: Effect, outcome: str) -> None:
        """Write one event outside a change; returns when it is durable. Raises Unavailable."""
        told = Told(
            action=effect.action,
            kind=effect.kind,
            resource=effect.resource,
            tenant=effect.tenant,
            principal=effect.principal,
            request_id=effect.request_id,
            trace_id=effect.trace_id,
            facts=dict(effect.facts),  # the caller may add to its own while the writer reads
            outcome=outcome,
        )
        # An empty change with an effect of its own: the database's journal call, its group commit and its
        # checkpoint are then the same for every event.
        await self._db.write(self._ctx.within(told), _nothing)

    async def heal(self, *, adopt: bool = False) -> None:
        """Compare the database with the sinks, sign for what a kill left unsigned, and begin to take events.

        The log must go on from the newest checkpoint. One that holds events must have a checkpoint, as even the empty
        log gets one; `adopt` passes over that, for a deployment that begins to use new sinks: the whole chain is
        checked instead. Raises NotTrustworthy, and Unavailable while a sink cannot be read or written.
        """
        for sink in self._journal.sinks:
            await sink.mend()
        newest = await self._newest()
        head = await self._db.write(self._ctx, begin)
        if head.size and newest is None:
            # Another process may have begun the log since: its first checkpoint lay there before its first event.
            newest = await self._newest()
        try:
            if head.size and newest is None and not adopt:
                raise NotTrustworthy(f"the audit log holds {head.size} events, and no sink a checkpoint")
            signed = None if newest is None else newest.checkpoint
            grown = await self._db.read(lambda connection: continued(connection, signed))
        except NotTrustworthy as error:
            raise NotTrustworthy(error.detail, next_step=_ADVICE) from error
        await asyncio.to_thread(self._journal.settle, grown)
        if self._journal.degraded:
            raise Unavailable(self._journal.degraded)
        for sink in self._journal.sinks:
            await sink.flush()

    async def events(
        self, ctx: Context, *, before: int | None = None, limit: int = 100, action: str | None = None
    ) -> Sequence[AuditEvent]:
        if not 1 <= limit <= MAX_EVENTS:
            raise InvalidInput(f"limit must be 1 to {MAX_EVENTS}")
        query = select(EVENTS.c.body, EVENTS.c.hash).where(EVENTS.c.tenant == shortened(ctx.tenant))
        if before is not None:
            query = query.where(EVENTS.c.seq < before)
        if action is not None:
            query = query.where(EVENTS.c.action == shortened(action))
        query = query.order_by(EVENTS.c.seq.desc()).limit(limit)
        return await self._db.read(partial(_events, query=query))

    async def verify(self, ctx: Context) -> AuditReport:
        started = self._clock.monotonic()
        faults = Faults()
        mine = self._journal.newest
        notes = await self._notes(faults)  # before the events: every checkpoint is then for events that are read
        signed = await asyncio.to_thread(open_notes, notes, self._journal.verifier, faults)
        for name in notes:
            furthest = max((each.checkpoint.size for each in signed if each.sink == name), default=0)
            if notes[name] and mine is not None and furthest < mine.checkpoint.size:
                faults.add(
                    f"{name}: the newest checkpoints are gone: {furthest} instead of {mine.checkpoint.size} events"
                )
        walk = await self._db.read(lambda connection: check(connection, signed, faults))
        return AuditReport(
            ok=faults.count == 0,
            events=walk.events,
            root=walk.root.hex(),
            checkpoints=len(signed),
            covered=walk.covered,
            faults=faults.told(),
            seconds=self._clock.monotonic() - started,
        )

    async def prove(self, ctx: Context, seq: int) -> InclusionProof:
        note = self._journal.newest
        if note is None or note.checkpoint.size <= seq:
            note = await self._newest()
        mine = (EVENTS.c.seq == seq) & (EVENTS.c.tenant == shortened(ctx.tenant))

        def read(connection: Connection) -> InclusionProof:
            body = connection.execute(select(EVENTS.c.body).where(mine)).scalar_one_or_none()
            if body is None:
                raise NotFound(f"there is no audit event {seq}")
            if note is None or seq >= note.checkpoint.size:
                raise Conflict(f"no checkpoint covers event {seq} yet", next_step="Try again in a second.")
            return made(seq, body, note=note, subtree=StoredTree(connection))

        return await self._db.read(read)

    async def export(self, ctx: Context, *, after: int = -1) -> AsyncIterator[AuditEvent]:
        query = select(EVENTS.c.body, EVENTS.c.hash).where(EVENTS.c.tenant == shortened(ctx.tenant))
        query = query.order_by(EVENTS.c.seq).limit(PAGE)
        while True:
            page = await self._db.read(partial(_events, query=query.where(EVENTS.c.seq > after)))
            for item in page:
                yield item
            if len(page) < PAGE:
                return
            after = page[-1].seq

    async def _newest(self) -> Note | None:
        return newest_note(await self._notes(), self._journal.verifier)

    async def _notes(self, faults: Faults | None = None) -> dict[str, Sequence[str]]:
        """The notes of each sink. A sink that cannot be reached is a fault if there is a list for it, else raised."""
        found: dict[str, Sequence[str]] = {}
        for sink in self._journal.sinks:
            try:
                await sink.flush()
                found[sink.name] = await sink.notes()
            except Unavailable as error:
                if faults is None:
                    raise
                faults.add(f"{sink.name}: {error.detail}")
        return found


def _nothing(connection: Connection) -> None:
    """The change of an event that stands alone."""


def _events(connection: Connection, query: Select[bytes, bytes]) -> list[AuditEvent]:
    try:
        return [event(decode(body), chain) for body, chain in connection.execute(query)]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError) as error:
        raise NotTrustworthy("an event of the audit log cannot be read") from error
