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
from .observing import Observed, outcome_of
from .table import Target

_UNUSED = Usage()
T = TypeVar("T")


class Spending:
    """One attempt at one model. `settle` or `release` is to be called once; a second call changes nothing.

    `observed` is told of the end.
    """

    def __init__(self, purse: Purse | None, ctx: Context, candidate: Candidate, observed: Observed) -> None:
        self.observed = observed
        self._purse = purse
        self._ctx = ctx
        self._candidate = candidate
        self._reserve: Reserve | None = None
        self._done = False
        self.cost = 0

    async def reserve(self, asked: Asked, target: Target, number: int) -> None:
        """Set the most aside that the attempt may cost. Raises BudgetExceeded, and the attempt has then ended."""
        if self._purse is None:
            return
        found = self._candidate
        try:
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
        except BaseException as error:
            self.observed.end(_UNUSED, 0, error)
            raise

    async def settle(self, usage: Usage, error: BaseException | None = None) -> None:
        """Count what was used, by an attempt that ended with that error. Cancelling the caller does not stop it."""
        if self._done:
            return
        self._done = True
        price = self._candidate.price
        self.cost = 0 if price is None else price.cost(usage)
        try:
            if self._purse is not None and self._reserve is not None:
                self.cost = await _shielded(
                    self._purse.settle(self._ctx, self._reserve, usage, price=price, outcome=outcome_of(error))
                )
        finally:
            self.observed.end(usage, self.cost, error)

    async def release(self, error: BaseException) -> None:
        """Nothing was used, as the attempt ended with that error. Cancelling the caller does not stop it."""
        if self._done:
            return
        self._done = True
        try:
            if self._purse is not None and self._reserve is not None:
                await _shielded(self._purse.release(self._ctx, self._reserve))
        finally:
            self.observed.end(_UNUSED, 0, error)


async def _shielded(work: Awaitable[T]) -> T:
    """What the work gives. Once it waits it is on its own: whoever cancels the caller does not stop it."""
    begun = Begun(work)
    return begun.value if not begun.waits else await asyncio.shield(asyncio.ensure_future(_rest(begun)))


async def _rest(begun: Begun[T]) -> T:
    return await begun
