"""Keeps allowances where they are needed: takes some before calls must wait, gives back what lies idle."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from ...core.clock import Clock, micros
from ...core.errors import StanchionError
from ...core.tasks import end_tasks
from .counters import Counter, Counters
from .gauges import Account, Gauge
from .purse import MoneyPurse
from .windows import SECOND, Span, span

_EVERY = 0.25
_IDLE = 2 * SECOND
_AHEAD = 1 * SECOND
_RENEW_SECONDS = 15.0
_log = logging.getLogger(__name__)


class Keeper:
    """The background of one purse. A reserve that is open for `longest` seconds counts as lost."""

    def __init__(self, purse: MoneyPurse, counters: Counters, *, clock: Clock, longest: float) -> None:
        self._purse = purse
        self._counters = counters
        self._clock = clock
        self._longest = longest
        self._renewed = clock.monotonic()
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to tidy in the background."""
        self._task = asyncio.create_task(self._serve(), name="system:gateway-allowances")

    async def stop(self) -> None:
        """Give everything back that no call holds."""
        await end_tasks(self._task)
        await self._purse.taken()
        await self.tidy(everything=True)

    async def tidy(self, *, everything: bool = False) -> None:
        """One round. Raises Unavailable; what could not be given back stays with this process."""
        async with self._turn:
            now = micros(self._clock.now())
            if lost := self._purse.expire(self._clock.monotonic() - self._longest):
                _log.warning("%d calls were neither settled nor released; they count at their full reserve", lost)
            await self._give(now, everything)
            if not everything:
                await self._prepare(now)
            if self._clock.monotonic() - self._renewed >= _RENEW_SECONDS:
                self._renewed = self._clock.monotonic()
                await self._counters.renew()

    async def _give(self, now: int, everything: bool) -> None:
        late, self._purse.late = self._purse.late, []
        changes: list[tuple[Account | None, tuple[Counter, Span, int]]] = [(None, each) for each in late]
        idle: list[Gauge] = []
        for gauge in list(self._purse.gauges.values()):
            present = gauge.at(now)
            for account in gauge.accounts:
                rest = everything or account in gauge.retired or now - account.used_at >= _IDLE
                if account.free < 0 or (account.free > 0 and rest):
                    changes.append((account, (gauge.counter, account.span, account.free)))
            if not gauge.retired and present.open == 0 and now - present.used_at >= _IDLE:
                idle.append(gauge)
        # Before the await: no call may be given what is on its way back.
        for owner, change in changes:
            if owner is not None:
                owner.granted -= change[2]
        try:
            if changes:
                await self._counters.give([change for _, change in changes])
        except BaseException:
            # If the store did it all the same, the change counts twice: an allowance given back is then taken once
            # more from nowhere, so only debts are tried again and the rest is left to the end of its window.
            self._purse.late += [each for _, each in changes if each[2] < 0]
            raise
        self._drop(idle)

    def _drop(self, idle: Sequence[Gauge]) -> None:
        for gauge in list(self._purse.gauges.values()):
            gauge.retired = [each for each in gauge.retired if each.open or each.free]
        gone = [g for g in idle if not any(a.open or a.free for a in g.accounts)]
        if gone:
            self._purse.forget(gone)

    async def _prepare(self, now: int) -> None:
        """Take what calls will need soon: where little is left, and for a window that is about to begin."""
        wanted: list[tuple[Gauge, Account]] = []
        for gauge in list(self._purse.gauges.values()):
            present = gauge.at(now)
            if not gauge.chunk or now - max((a.used_at for a in gauge.accounts), default=0) >= _IDLE:
                continue
            refused = gauge.refusal is not None and self._clock.monotonic() < gauge.refusal.until
            if gauge.low and not refused:
                wanted.append((gauge, present))
            if gauge.ahead is None and gauge.counter.window is not None and present.span.end - now <= _AHEAD:
                gauge.ahead = Account(span(gauge.counter.window, present.span.end))
                gauge.ahead.used_at = now
                wanted.append((gauge, gauge.ahead))
        if wanted:
            await self._purse.obtain_ahead(wanted)

    async def _serve(self) -> None:
        while True:
            await asyncio.sleep(_EVERY)
            try:
                await self.tidy()
            except StanchionError as error:
                _log.warning("allowances of budgets could not be kept: %s", error)
