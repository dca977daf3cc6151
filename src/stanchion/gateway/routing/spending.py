"""Money of one attempt: set aside before, counted for good after, whatever became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from ...core.context import Context
from ...core.resilience.deadline import Begun
from ..contract.calls import Usage
from ..ports import Purse, Reserve
from .asked import Asked
from .choosing import Candidate
from .table import Target

T = TypeVar("T")


class Spending:
    """One attempt at one model. `settle` or `release` is to be called once; a second call changes nothing."""

    def __init__(self, purse: Purse | None, ctx: Context, candidate: Candidate) -> None:
        self._purse = purse
        self._ctx = ctx
        self._candidate = candidate
        self._reserve: Reserve | None = None
        self._done = False
        self.cost = 0

    async def reserve(self, asked: Asked, target: Target, number: int) -> None:
        """Set the most aside that the attempt may cost. Raises BudgetExceeded."""
        if self._purse is None:
            return
        found = self._candidate
        self._reserve = await self._purse.reserve(
            self._ctx,
            provider=found.served.upstream.name,
            model=found.served.model,
            tokens=asked.tokens_in * found.way.times(asked) + found.tokens_out,
            most=found.most,
            tags=asked.ask.tags,
            route=target.route,
            attempt=number,
            priced=found.price is not None,
        )

    async def settle(self, usage: Usage, outcome: str) -> None:
        """Count what was used. Cancelling the caller does not stop it."""
        if self._done:
            return
        self._done = True
        price = self._candidate.price
        self.cost = 0 if price is None else price.cost(usage)
        if self._purse is not None and self._reserve is not None:
            self.cost = await _shielded(
                self._purse.settle(self._ctx, self._reserve, usage, price=price, outcome=outcome)
            )

    async def release(self) -> None:
        """Nothing was used. Cancelling the caller does not stop it."""
        if self._done:
            return
        self._done = True
        if self._purse is not None and self._reserve is not None:
            await _shielded(self._purse.release(self._ctx, self._reserve))


async def _shielded(work: Awaitable[T]) -> T:
    """What the work gives. Once it waits it is on its own: whoever cancels the caller does not stop it."""
    begun = Begun(work)
    return begun.value if not begun.waits else await asyncio.shield(asyncio.ensure_future(_rest(begun)))


async def _rest(begun: Begun[T]) -> T:
    return await begun
