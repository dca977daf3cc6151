"""Reviews: the contract, each method at the desk that does its work."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from ..core.context import Context
from .claiming import Claiming
from .clockwork import Clockwork
from .contract import (
    Answer,
    Case,
    DatasetVersion,
    Draft,
    Expected,
    Item,
    Opened,
    QueueView,
    Reviewer,
    Reviews,
    Settled,
    Statistics,
    Status,
    Submission,
)
from .datasets import Datasets
from .deciding import Deciding
from .desk import Desk
from .erasing import Erasing
from .opening import Opening
from .overseeing import Overseeing
from .ports import Notifier
from .reading import Reading


class ReviewService(Reviews):
    """The queues of one process. Several processes may share their store."""

    def __init__(
        self,
        desk: Desk,
        notifier: Notifier,
        *,
        tick_seconds: float = 1.0,
        poll_seconds: float = 1.0,
        ticking: bool = True,
    ) -> None:
        self._reading = Reading(desk)
        self._opening = Opening(desk, self._reading, poll_seconds=poll_seconds)
        self._claiming = Claiming(desk, self._reading)
        self._deciding = Deciding(desk, self._reading)
        self._overseeing = Overseeing(desk)
        self._datasets = Datasets(desk)
        self._erasing = Erasing(desk)
        self.clock = Clockwork(desk, notifier, seconds=tick_seconds)
        self._ticking = ticking

    async def start(self) -> None:
        """Let time pass."""
        if self._ticking:
            self.clock.start()

    async def stop(self) -> None:
        """End background work."""
        await self.clock.stop()

    async def open(self, ctx: Context, drafts: Sequence[Draft]) -> Sequence[Opened]:
        return await self._opening.open(ctx, drafts)

    async def ask(self, ctx: Context, draft: Draft, *, seconds: float = 0.0) -> Answer:
        return await self._opening.ask(ctx, draft, seconds=seconds)

    async def inform(self, ctx: Context, item: str, text: str) -> Item:
        return await self._claiming.inform(ctx, item, text)

    async def queues(self, ctx: Context) -> Sequence[QueueView]:
        return await self._overseeing.queues(ctx)

    async def items(
        self,
        ctx: Context,
        *,
        queue: str = "",
        status: Sequence[Status] = (),
        mine: bool = False,
        after: str = "",
        limit: int = 50,
    ) -> Sequence[Item]:
        return await self._reading.items(ctx, queue, status, mine=mine, after=after, limit=limit)

    async def get(self, ctx: Context, item: str) -> Case:
        return await self._reading.get(ctx, item)

    async def claim(self, ctx: Context, *, queue: str = "", ids: Sequence[str] = (), limit: int = 1) -> Sequence[Case]:
        return await self._claiming.claim(ctx, queue, ids, limit)

    async def heartbeat(self, ctx: Context, item: str, token: int) -> datetime:
        return await self._claiming.heartbeat(ctx, item, token)

    async def release(self, ctx: Context, item: str, token: int) -> Item:
        return await self._claiming.release(ctx, item, token)

    async def decide(self, ctx: Context, submissions: Sequence[Submission]) -> Sequence[Settled]:
        return await self._deciding.decide(ctx, submissions)

    async def undo(self, ctx: Context, item: str) -> Item:
        return await self._deciding.undo(ctx, item)

    async def defer(self, ctx: Context, item: str, token: int, until: datetime, *, note: str = "") -> Item:
        return await self._claiming.defer(ctx, item, token, until, note)

    async def need_info(self, ctx: Context, item: str, token: int, question: str) -> Item:
        return await self._claiming.need_info(ctx, item, token, question)

    async def delegate(self, ctx: Context, item: str, to: str, *, note: str = "") -> Item:
        return await self._claiming.delegate(ctx, item, to, note)

    async def reviewers(self, ctx: Context) -> Sequence[Reviewer]:
        return await self._overseeing.reviewers(ctx)

    async def put_reviewer(self, ctx: Context, reviewer: Reviewer) -> Reviewer:
        return await self._overseeing.put_reviewer(ctx, reviewer)

    async def seed(self, ctx: Context, draft: Draft, expected: Expected) -> Item:
        return await self._opening.seed(ctx, draft, expected)

    async def statistics(self, ctx: Context, queue: str, *, since: datetime | None = None) -> Statistics:
        return await self._overseeing.statistics(ctx, queue, since)

    async def datasets(self, ctx: Context, queue: str) -> Sequence[DatasetVersion]:
        return await self._datasets.versions(ctx, queue)

    async def dataset(self, ctx: Context, queue: str) -> DatasetVersion:
        return await self._datasets.publish(ctx, queue)

    def export(self, ctx: Context, queue: str, version: int) -> AsyncIterator[bytes]:
        return self._datasets.export(ctx, queue, version)

    async def erase(self, ctx: Context, item: str, *, reason: str = "") -> int:
        return await self._erasing.erase(ctx, item, reason)

    async def evidence(self, ctx: Context, item: str) -> Sequence[dict[str, Any]]:
        return await self._overseeing.evidence(ctx, item)
