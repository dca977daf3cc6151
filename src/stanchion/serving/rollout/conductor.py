"""Follows the stored rollouts in every process, and in the one that holds the lease takes them further.

Every process: writes what it counted, reads what holds, loads the versions, splits its traffic. The leader, besides:
weighs the evidence of all processes and makes the next change. A change is made under the revision it was decided
on, so that two leaders for a moment, after a stalled process or with clocks apart, cannot make two.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from ...core.clock import Clock
from ...core.context import Context, Effect, Rights, system_context
from ...core.errors import Conflict, NotAllowed, StanchionError
from ...core.tasks import end_tasks
from ...registry import Registry
from ..contract import GuardStatus, Rollout, RolloutState
from . import evidence
from .board import Board
from .evidence import NAMES, NOTHING, Totals
from .machine import Evidence, Move, decide, share_now
from .metrics import RolloutMetrics
from .records import Record
from .sequences import Moments
from .store import RolloutStore

LEASE = "rollouts"
log = logging.getLogger(__name__)
Outcomes = Callable[[Record], Awaitable[Mapping[str, Moments]]]


class Holder(Protocol):
    """What keeps versions loaded."""

    async def hold(self, tenant: str, model: str, versions: frozenset[str]) -> None:
        """Load these versions of the model and keep them, and no others of it. Raises what loading raises."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between two looks, and for which the lease is taken."""

    poll: float = 0.5
    lease: float = 5.0


class Conductor:
    """One for each process. `alone`: development mode, where one person is enough for production."""

    def __init__(
        self,
        *,
        store: RolloutStore,
        board: Board,
        holder: Holder,
        registry: Registry,
        clock: Clock,
        pace: Pace,
        alone: bool,
        refresh: Callable[[], Awaitable[None]],
        metrics: RolloutMetrics,
        outcomes: Outcomes | None = None,
    ) -> None:
        self._store = store
        self._board = board
        self._holder = holder
        self._registry = registry
        self._clock = clock
        self._pace = pace
        self._alone = alone
        self._refresh = refresh
        self._outcomes = outcomes
        self._metrics = metrics
        self._weighed: list[tuple[Rollout, list[GuardStatus]]] = []
        self._due: Callable[[], Awaitable[None]] | None = None
        self._held: dict[tuple[str, str], frozenset[str]] = {}
        self._bell = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take over what holds, then follow. A database that is away is looked for again in the background."""
        await self._guarded()
        self._task = asyncio.create_task(self._run(), name="serving-rollouts")

    async def stop(self) -> None:
        """Write what was counted, give the lease back, and end."""
        if self._task is None:
            return
        await end_tasks(self._task)
        try:
            await self._flush()
            await self._store.release(LEASE)
        except StanchionError as error:
            log.warning("the last totals of the rollouts could not be written: %s", error.detail)

    def begin_with(self, due: Callable[[], Awaitable[None]]) -> None:
        """Let the leader call `due` at every look: it begins the rollouts that are declared."""
        self._due = due

    async def changed(self) -> None:
        """Something was changed here: it holds in this process when this returns, and is looked at again at once."""
        if self._task is not None:
            await self.follow(await self._store.present(self._clock.now()))
            self._bell.set()

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._pace.poll):
                    await self._bell.wait()
            except TimeoutError:
                pass
            self._bell.clear()
            await self._guarded()

    async def _guarded(self) -> None:
        try:
            await self.tick()
        except StanchionError as error:
            log.warning("the rollouts could not be followed: %s", error.detail)
        except Exception as error:
            # A dead follower would hold a canary's share for ever.
            log.exception("the rollouts could not be followed: %s", type(error).__name__)

    async def tick(self) -> None:
        """One look: write, read, load, split, and lead if that is this process's turn."""
        await self._flush()
        await self._refresh()
        records = await self._store.present(self._clock.now())
        await self.follow(records)
        live = [record for record in records if record.live]
        self._weighed = []
        if (live or self._due is not None) and await self._store.lead(LEASE, self._clock.now(), self._pace.lease):
            if self._due is not None:
                await self._due()
            before = {record.rollout.id: record.rollout.revision for record in live}
            for record in live:
                await self._lead(record)
            records = await self._store.present(self._clock.now())
            if before != {record.rollout.id: record.rollout.revision for record in records if record.live}:
                await self.follow(records)
        self._metrics.weighed(self._weighed)

    async def follow(self, records: list[Record]) -> None:
        """Bring this process in line with the stored rollouts."""
        self._board.show(records)
        self._metrics.shown(records)
        wanted = {
            (each.tenant, each.rollout.model): frozenset({each.rollout.control, each.rollout.candidate})
            for each in records
        }
        for key in [key for key in self._held if key not in wanted]:
            await self._holder.hold(*key, frozenset())
            del self._held[key]
        for key, versions in wanted.items():
            split = self._board.find(*key)
            if self._held.get(key) != versions:
                try:
                    await self._holder.hold(*key, versions)
                except StanchionError as error:
                    # Until it is loaded its share stays with the present version: nobody's call fails for it.
                    log.warning("a version of %s's rollout cannot be loaded: %s", key[1], error.detail)
                    continue
                self._held[key] = versions
            if split is not None:
                split.loaded = True
                names = split.names
                split.elsewhere = await self._store.spent(split.record, names.candidate, but=self._store.holder)

    async def totals(self, record: Record) -> tuple[Totals, Totals]:
        """What both arms came to in the present step: the control's and the candidate's."""
        found = await self._store.totals(record, record.rollout.step)
        names = NAMES[record.rollout.kind]
        control, candidate = found.get(names.control, NOTHING), found.get(names.candidate, NOTHING)
        if self._outcomes is None:
            return control, candidate
        fed = await self._outcomes(record)
        return (
            replace(control, outcomes=fed.get(names.control, Moments())),
            replace(candidate, outcomes=fed.get(names.candidate, Moments())),
        )

    async def _flush(self) -> None:
        counted, disagreed = self._board.counted(), self._board.disagreed()
        try:
            await self._store.keep(counted, disagreed)
        except BaseException:
            for each in counted:
                each.tally.changed = True
            raise

    async def _lead(self, record: Record) -> None:
        try:
            await self._one(record)
        except Conflict as error:
            log.info("%s", error.detail)
        except StanchionError as error:
            log.warning("the rollout of %s waits: %s", record.rollout.model, error.detail)

    async def _one(self, record: Record) -> None:
        rollout = record.rollout
        if rollout.state == "waiting":
            return
        overtaken = await self._overtaken(record)
        if overtaken is not None:
            await self.move(_itself(record, overtaken), record, overtaken)
        elif rollout.state == "promoting":
            await self._promote(record)
        elif rollout.state == "running":
            control, candidate = await self.totals(record)
            names = NAMES[rollout.kind]
            found = Evidence(
                guards=evidence.judge(rollout.plan, control, candidate),
                samples=candidate.requests,
                spent=await self._store.spent(record, names.candidate),
                since=record.since,
            )
            self._weighed.append((rollout, list(found.guards)))
            move = decide(rollout, found, self._clock.now())
            if move is not None:
                await self.move(_itself(record, move), record, move)

    async def _overtaken(self, record: Record) -> Move | None:
        """What follows from the registry: the candidate went into production, or a third version did."""
        rollout = record.rollout
        ctx = system_context(record.tenant, task="rollout")
        present = await self._registry.resolve(ctx, rollout.model)
        if present.version == rollout.candidate and present.stage == "production":
            how = rollout.reason if rollout.state == "promoting" else "it was put into production in the registry"
            return Move("promoted", rollout.step, how)
        if present.version not in (rollout.control, rollout.candidate):
            return Move("aborted", rollout.step, f"{present.version} went into production meanwhile")
        return None

    async def _promote(self, record: Record) -> None:
        """Tell the registry, as those who decided: then it is in production, or waits there for a second person."""
        rollout = record.rollout
        text = (
            f"Rollout {rollout.id} ({rollout.kind}) of {rollout.candidate} beside {rollout.control}: {rollout.reason}"
        )
        status = await self._ask(record, rollout.started_by, record.started, text)
        if status != "done" and rollout.approved_by:
            status = await self._ask(record, rollout.approved_by, record.approved, text)
        if status == "done":
            move = Move("promoted", rollout.step, rollout.reason)
        else:
            move = Move("pending", rollout.step, f"a second person must promote it; {rollout.reason}")
        await self.move(_itself(record, move), record, move)

    async def _ask(self, record: Record, principal: str, rights: Rights, text: str) -> str:
        rollout = record.rollout
        ctx = Context(tenant=record.tenant, principal=principal, rights=rights)
        try:
            asked = await self._registry.promote(
                ctx, rollout.model, rollout.candidate, to="production", evidence=text[:9000]
            )
        except NotAllowed:
            # It was asked for before a crash, by the same person, or that person may not ask: somebody else decides.
            return "pending"
        return asked.status

    async def move(self, ctx: Context, record: Record, move: Move) -> Record:
        """Store a change, made by whoever `ctx` is. Raises Conflict if it was made from an old revision."""
        after = self.moved(record, move)
        note(ctx, after.rollout)
        await self._store.change(ctx, record, after)
        rollout = after.rollout
        self._metrics.decided(rollout, ctx.principal)
        log.info("rollout of %s to %s: %s. %s", rollout.model, rollout.candidate, rollout.state, rollout.reason)
        return after

    def moved(self, record: Record, move: Move) -> Record:
        """The next revision."""
        now, before = self._clock.now(), record.rollout
        ended = move.state in ("promoted", "rolled_back", "aborted", "finished")
        rollout = replace(
            before,
            state=move.state,
            step=move.step,
            percent=share_now(before.kind, move.state, move.step, before.plan),
            changed_at=now,
            reason=move.reason,
            ended_at=now if ended else None,
            revision=before.revision + 1,
        )
        counts_anew = move.state == "running" and (move.step != before.step or before.state in ("paused", "waiting"))
        return replace(
            record,
            rollout=rollout,
            since=now if counts_anew else record.since,
            warm_until=_warm(record, move.state, now),
        )


def _warm(record: Record, state: RolloutState, now: datetime) -> datetime:
    # Only a promotion can be taken back, so only then the former version is worth its memory.
    return now + timedelta(seconds=record.rollout.plan.keep) if state == "promoted" else record.warm_until


def _itself(record: Record, move: Move) -> Context:
    """The Context of a change that nobody asked for, which the audit log tells of like any other."""
    ctx = system_context(record.tenant, task="rollout")
    effect = Effect(
        action="serving:rollout",
        kind="write",
        resource=f"Model::{record.rollout.model}",
        tenant=record.tenant,
        principal=ctx.principal,
        request_id=ctx.request_id,
        trace_id=ctx.trace.trace_id,
    )
    return ctx.within(effect)


def note(ctx: Context, rollout: Rollout) -> None:
    """Tell the audit log what changed; the reason's figures are in the rollout's own history."""
    if ctx.effect is not None:
        ctx.effect.note(
            rollout=rollout.id,
            kind=rollout.kind,
            state=rollout.state,
            control=rollout.control,
            candidate=rollout.candidate,
            step=rollout.step,
            percent=rollout.percent,
            revision=rollout.revision,
        )
