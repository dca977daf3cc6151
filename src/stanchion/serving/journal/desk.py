"""The journal's business as the contract has it: truths in, quality and entries out."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.clock import Clock
from ...core.context import Context
from ...core.storage import Database
from ..contract import Entry, ModelQuality, Noted, Truth
from .feedback import FeedbackDesk
from .journal import Journal
from .quality import Quality


class JournalDesk:
    """Holds the journal and what reads and completes it."""

    def __init__(self, database: Database, journal: Journal, clock: Clock) -> None:
        self.journal = journal
        self._feedback = FeedbackDesk(database, journal, clock)
        self._quality = Quality(database, clock)

    async def feedback(self, ctx: Context, items: Sequence[Truth]) -> Sequence[Noted]:
        """What the contract says."""
        return await self._feedback.take(ctx, items)

    async def quality(self, ctx: Context, model: str, *, days: int) -> ModelQuality:
        """What the contract says."""
        await self.journal.flush()
        return await self._quality.of(ctx.tenant, model, days=days)

    async def entries(self, ctx: Context, request_id: str) -> Sequence[Entry]:
        """What the contract says."""
        return await self.journal.entries(ctx.tenant, request_id)
