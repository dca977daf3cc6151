"""The money of the gateway in one place: the purse that calls are held to, and the accounts that people read."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from typing import Literal

from ...core.clock import Clock, micros
from ...core.context import Context
from ...core.errors import NotFound, StanchionError
from ...core.storage import Database, KeyValue
from ...core.tasks import end_tasks
from ...core.telemetry.retention import Prune, Retention
from ..contract.calls import Usage
from ..contract.money import (
    Accounts,
    BudgetSpec,
    BudgetState,
    Grouping,
    Invoice,
    PriceSpec,
    Spend,
    SpendPage,
    Team,
    UsageLine,
)
from ..ports import Price, Purse, Reserve
from .book import Book
from .counters import Counters
from .keeper import Keeper
from .ledger import SpendLedger
from .levels import Levels
from .prices import PriceTable
from .purse import MoneyPurse
from .reports import Reports

_REFRESH_SECONDS = 1.0
_log = logging.getLogger(__name__)


class MoneyService(Purse, Accounts):
    """Purse and accounts of one process, over a database with the tables of `money/tables.py`.

    `shared` says where processes meet: in the database, or in a key-value store that all of them reach (Redis).
    `longest` are the seconds after which a call that nobody settled counts as lost, at its full reserve. Rows are kept
    for `days`, their sums by day for `sum_days`.
    """

    def __init__(
        self,
        *,
        database: Database,
        keyvalue: KeyValue,
        clock: Clock,
        budgets: Sequence[BudgetSpec] = (),
        prices: Sequence[PriceSpec] = (),
        shared: Literal["database", "keyvalue"] = "database",
        catalogue: bool = True,
        longest: float = 3_900.0,
        days: int = 400,
        sum_days: int = 3_650,
    ) -> None:
        holder = secrets.token_hex(8)
        self._clock = clock
        self.prices = PriceTable(prices, clock=clock, catalogue=catalogue)
        self._counters = _counters(shared, database, keyvalue, holder, clock)
        self._ledger = SpendLedger(database)
        self._book = Book(database, budgets, clock=clock)
        self._purse = MoneyPurse(self._book, self._counters, self._ledger, holder=holder, clock=clock)
        self._keeper = Keeper(self._purse, self._counters, clock=clock, longest=longest)
        self._levels = Levels(self._purse, self._counters, clock=clock)
        self._reports = Reports(database, self._ledger, clock=clock)
        kept: dict[Prune, int] = {
            self._ledger.prune: days,
            self._ledger.prune_days: sum_days,
            self._forget: 0,
        }
        self._retention = Retention(kept, clock)
        self._task: asyncio.Task[None] | None = None
        self._loading: asyncio.Task[None] | None = None

    @property
    def ledger(self) -> SpendLedger:
        """Where settled calls are written."""
        return self._ledger

    async def start(self) -> None:
        """Read budgets and teams, and begin to write and to tidy. Raises Unavailable."""
        await self._book.refresh()
        await self._ledger.start()
        await self._keeper.start()
        await self._retention.start()
        self._task = asyncio.create_task(self._serve(), name="system:gateway-budgets")
        self._loading = asyncio.create_task(self.prices.load(), name="system:gateway-prices")

    async def stop(self) -> None:
        """Store every row and give every allowance back."""
        await end_tasks(self._task)
        if self._loading is not None:
            await asyncio.gather(self._loading, return_exceptions=True)
        await self._retention.stop()
        try:
            await self._ledger.stop()
        finally:
            await self._keeper.stop()

    async def tidy(self) -> None:
        """What the background does all the time, once: take and give back allowances, notice changed budgets."""
        if await self._book.refresh():
            self._purse.forget()
            await self._keeper.tidy(everything=True)
        await self._keeper.tidy()

    async def reserve(
        self,
        ctx: Context,
        *,
        provider: str,
        model: str,
        tokens: int,
        most: int,
        tags: Mapping[str, str],
        route: str = "",
        attempt: int = 0,
        priced: bool = True,
    ) -> Reserve:
        return await self._purse.reserve(
            ctx,
            provider=provider,
            model=model,
            tokens=tokens,
            most=most,
            tags=tags,
            route=route,
            attempt=attempt,
            priced=priced,
        )

    async def settle(
        self,
        ctx: Context,
        reserve: Reserve,
        usage: Usage,
        *,
        price: Price | None,
        outcome: str,
        provider: str = "",
        model: str = "",
    ) -> int:
        return await self._purse.settle(
            ctx, reserve, usage, price=price, outcome=outcome, provider=provider, model=model
        )

    async def release(self, ctx: Context, reserve: Reserve) -> None:
        await self._purse.release(ctx, reserve)

    async def budgets(self, ctx: Context) -> Sequence[BudgetState]:
        return [await self._levels.fill(ctx.tenant, state) for state in self._book.budgets(ctx.tenant)]

    async def budget(self, ctx: Context, name: str) -> BudgetState:
        for state in self._book.budgets(ctx.tenant):
            if state.spec.name == name:
                return await self._levels.fill(ctx.tenant, state)
        raise NotFound(f"there is no budget {name!r:.80}")

    async def put_budget(self, ctx: Context, spec: BudgetSpec, *, expected: int | None = None) -> BudgetState:
        state = await self._book.put_budget(ctx, spec, expected)
        await self._changed()
        return await self._levels.fill(ctx.tenant, state)

    async def delete_budget(self, ctx: Context, name: str, *, expected: int | None = None) -> None:
        await self._book.delete_budget(ctx, name, expected)
        await self._changed()

    async def teams(self, ctx: Context) -> Sequence[Team]:
        return self._book.teams(ctx.tenant)

    async def put_team(self, ctx: Context, name: str, members: Sequence[str], *, expected: int | None = None) -> Team:
        team = await self._book.put_team(ctx, name, members, expected)
        await self._changed()
        return team

    async def delete_team(self, ctx: Context, name: str, *, expected: int | None = None) -> None:
        await self._book.delete_team(ctx, name, expected)
        await self._changed()

    async def usage(
        self,
        ctx: Context,
        *,
        start: date | None = None,
        end: date | None = None,
        by: Sequence[Grouping] = ("day",),
        tag: str = "",
    ) -> Sequence[UsageLine]:
        return await self._reports.usage(ctx, start, end, by, tag)

    async def spent(self, ctx: Context, request_id: str) -> Sequence[Spend]:
        return await self._reports.spent(ctx, request_id)

    async def invoice(
        self, ctx: Context, *, start: date | None = None, end: date | None = None, key: str = "", tag: str = ""
    ) -> Invoice:
        return await self._reports.invoice(ctx, start, end, key, tag)

    async def export_usage(
        self,
        ctx: Context,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        after: str = "",
        rows: int = 1000,
    ) -> AsyncIterator[SpendPage]:
        async for page in self._reports.export(ctx, start, end, after, rows):
            yield page

    async def _changed(self) -> None:
        """Let go of what was taken under the old budgets; the change itself is stored, so a failure may wait."""
        self._purse.forget()
        with suppress(StanchionError):
            await self._keeper.tidy(everything=True)

    async def _forget(self, now: datetime) -> int:
        await self._counters.forget(micros(now))
        return 0

    async def _serve(self) -> None:
        while True:
            await asyncio.sleep(_REFRESH_SECONDS)
            try:
                if await self._book.refresh():
                    await self._changed()
            except StanchionError as error:
                _log.warning("changes of budgets could not be read: %s", error)


def _counters(
    shared: Literal["database", "keyvalue"], database: Database, keyvalue: KeyValue, holder: str, clock: Clock
) -> Counters:
    if shared == "keyvalue":
        from .counting_keyvalue import KeyValueCounters

        return KeyValueCounters(keyvalue, holder=holder, clock=clock)
    from .counting_sql import SqlCounters

    return SqlCounters(database, holder=holder, clock=clock)
