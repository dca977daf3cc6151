"""Queues, reviewers, figures and evidence: what those look at who answer for the reviews."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ..core.context import Context
from ..core.errors import FieldProblem, InvalidInput
from .contract import LARGEST, QueueView, Reviewer, Statistics
from .desk import Desk, must
from .ports import Records
from .quality.figures import statistics


class Overseeing:
    """What is told of queues and people."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def queues(self, ctx: Context) -> Sequence[QueueView]:
        """See the contract."""
        return await self._desk.store.read(
            ctx.tenant, lambda records: [self._queue(records, name) for name in sorted(self._desk.specs)]
        )

    async def reviewers(self, ctx: Context) -> Sequence[Reviewer]:
        """See the contract."""
        return await self._desk.store.read(ctx.tenant, lambda records: records.reviewers())

    async def put_reviewer(self, ctx: Context, reviewer: Reviewer) -> Reviewer:
        """See the contract."""
        faults = []
        if not 1 <= len(reviewer.principal) <= 200 or not reviewer.principal.isprintable():
            faults.append(FieldProblem("$.principal", "has 1 to 200 printable characters"))
        if not 1 <= reviewer.capacity <= 1_000:
            faults.append(FieldProblem("$.capacity", "is 1 to 1,000"))
        if len(reviewer.skills) > 100 or len(reviewer.queues) > 100:
            faults.append(FieldProblem("$.skills", "skills and queues are at most 100 each"))
        if faults:
            raise InvalidInput("the reviewer cannot be stored", fields=faults)
        await self._desk.write(ctx, lambda records, at: records.put_reviewer(reviewer))
        if ctx.effect is not None:
            ctx.effect.note(reviewer=reviewer.principal, skills=",".join(sorted(reviewer.skills)))
        return reviewer

    async def statistics(self, ctx: Context, queue: str, since: datetime | None) -> Statistics:
        """See the contract."""
        if since is not None and since.tzinfo is None:
            raise InvalidInput("a moment needs its offset from UTC")
        self._desk.spec(queue)
        rows = await self._desk.store.read(ctx.tenant, lambda records: records.recent(queue, since, LARGEST))
        return statistics(queue, since, rows)

    async def evidence(self, ctx: Context, item: str) -> Sequence[dict[str, Any]]:
        """See the contract."""
        row = await self._desk.store.read(ctx.tenant, lambda records: must(records, item))
        votes = row.state.votes
        texts = await self._desk.seals.read(ctx.tenant, [vote.shown for vote in votes])
        return [
            {
                "principal": vote.by,
                "verdict": vote.verdict,
                "digest": vote.digest,
                "left": vote.left,
                "at": vote.at.isoformat(),
                "shown": texts[vote.shown],
            }
            for vote in votes
        ]

    def _queue(self, records: Records, name: str) -> QueueView:
        counts = records.counts(name)
        return QueueView(
            name=name,
            open=counts.get("open", 0),
            claimed=counts.get("claimed", 0),
            waiting=counts.get("waiting", 0),
            deferred=counts.get("deferred", 0),
            settling=counts.get("settling", 0),
            decided=counts.get("decided", 0),
            expired=counts.get("expired", 0),
            warned=counts["warned"],
            escalated=counts["raised"],
            oldest_at=records.oldest(name),
            skills=sorted(self._desk.specs[name].skills),
        )
