"""The accounts of the gateway, answered by its money."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import date, datetime

from ..core.context import Context
from .contract.comparison import Comparison, Comparisons, Score
from .contract.money import Accounts, BudgetSpec, BudgetState, Grouping, Invoice, Spend, SpendPage, Team, UsageLine


class Accounting(Accounts, Comparisons):
    """Hands every question on."""

    def __init__(self, accounts: Accounts, comparisons: Comparisons) -> None:
        self._accounts = accounts
        self._comparisons = comparisons

    async def budgets(self, ctx: Context) -> Sequence[BudgetState]:
        return await self._accounts.budgets(ctx)

    async def budget(self, ctx: Context, name: str) -> BudgetState:
        return await self._accounts.budget(ctx, name)

    async def put_budget(self, ctx: Context, spec: BudgetSpec, *, expected: int | None = None) -> BudgetState:
        return await self._accounts.put_budget(ctx, spec, expected=expected)

    async def delete_budget(self, ctx: Context, name: str, *, expected: int | None = None) -> None:
        await self._accounts.delete_budget(ctx, name, expected=expected)

    async def teams(self, ctx: Context) -> Sequence[Team]:
        return await self._accounts.teams(ctx)

    async def put_team(self, ctx: Context, name: str, members: Sequence[str], *, expected: int | None = None) -> Team:
        return await self._accounts.put_team(ctx, name, members, expected=expected)

    async def delete_team(self, ctx: Context, name: str, *, expected: int | None = None) -> None:
        await self._accounts.delete_team(ctx, name, expected=expected)

    async def usage(
        self,
        ctx: Context,
        *,
        start: date | None = None,
        end: date | None = None,
        by: Sequence[Grouping] = ("day",),
        tag: str = "",
    ) -> Sequence[UsageLine]:
        return await self._accounts.usage(ctx, start=start, end=end, by=by, tag=tag)

    async def spent(self, ctx: Context, request_id: str) -> Sequence[Spend]:
        return await self._accounts.spent(ctx, request_id)

    async def invoice(
        self, ctx: Context, *, start: date | None = None, end: date | None = None, key: str = "", tag: str = ""
    ) -> Invoice:
        return await self._accounts.invoice(ctx, start=start, end=end, key=key, tag=tag)

    async def export_usage(
        self,
        ctx: Context,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        after: str = "",
        rows: int = 1000,
    ) -> AsyncIterator[SpendPage]:
        async for page in self._accounts.export_usage(ctx, start=start, end=end, after=after, rows=rows):
            yield page

    async def score(self, ctx: Context, scores: Sequence[Score]) -> int:
        return await self._comparisons.score(ctx, scores)

    async def compare(
        self,
        ctx: Context,
        *,
        prompt: str = "",
        route: str = "",
        start: date | None = None,
        end: date | None = None,
        score: str = "score",
        baseline: str = "",
        confidence: float = 0.95,
    ) -> Comparison:
        return await self._comparisons.compare(
            ctx,
            prompt=prompt,
            route=route,
            start=start,
            end=end,
            score=score,
            baseline=baseline,
            confidence=confidence,
        )
