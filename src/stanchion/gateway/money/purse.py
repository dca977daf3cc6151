"""Reserve, then settle: a call sets aside the most it may cost, and pays what it did cost.

A call waits for a store only where this process has no allowance left. It is given what it asks of every limit that
covers it in one step without an await, so no other call can come between.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Literal

from ...core.clock import Clock, micros, moment
from ...core.context import Context
from ...core.errors import BudgetExceeded, StanchionError, Throttled, Unavailable
from ..contract.calls import Usage
from ..contract.money import Spend
from ..ports import Price, Purse, Reserve
from .amounts import MOST_CALL, dollars
from .book import Book
from .counters import Counter, Counters
from .gauges import Account, Amounts, Gauge, Refusal
from .ledger import SpendLedger
from .subjects import Call, storable
from .windows import SECOND, Span

_MOST_KNOWN = 10_000
_TRIES = 100
_MOST_TOKENS = 10**9
_REFUSED_SECONDS = 0.25


class Held(Reserve):
    """What one call has set aside. `state` is `open` until it is settled, released, or taken for lost (`expired`)."""

    __slots__ = ("accounts", "amounts", "attempt", "call", "cost", "model", "opened", "provider", "state", "tags")

    def __init__(self, call: Call, amounts: Amounts, accounts: list[tuple[Gauge, Account]], opened: float) -> None:
        self.call = call
        self.amounts = amounts
        self.accounts = accounts
        self.opened = opened
        self.state: Literal["open", "settled", "released", "expired"] = "open"
        self.cost = 0
        self.attempt = 0
        self.provider = ""
        self.model = ""
        self.tags: Mapping[str, str] = {}

    @property
    def most(self) -> int:
        return self.amounts.cost


class MoneyPurse(Purse):
    """The purse of one process. `gauges` are its limits in use; `late` are changes to accounts that are closed."""

    def __init__(self, book: Book, counters: Counters, ledger: SpendLedger, *, holder: str, clock: Clock) -> None:
        self._holder = holder
        self._charges = count()
        self._book = book
        self._counters = counters
        self._ledger = ledger
        self._clock = clock
        self._covering: dict[tuple[str, Call], tuple[Gauge, ...]] = {}
        self._turns: dict[Counter, asyncio.Lock] = {}
        self._taking: set[asyncio.Task[None]] = set()
        self._busy: dict[Counter, asyncio.Future[None]] = {}
        self.gauges: dict[Counter, Gauge] = {}
        self.open: dict[int, Held] = {}
        self.late: list[tuple[Counter, Span, int]] = []

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
        if not 0 <= most <= MOST_CALL or tokens < 0:
            raise StanchionError(f"no call can set aside {most} picodollars and {tokens} tokens")
        if self._ledger.full:
            raise Unavailable("the ledger of spend cannot be stored, and no call is made that is not charged")
        call = self._book.rules(ctx.tenant).call(ctx.principal, route, tags)
        amounts = Amounts(most, tokens)
        for _ in range(_TRIES):
            now = micros(self._clock.now())
            accounts = [(gauge, gauge.at(now)) for gauge in self._gauges(ctx.tenant, call)]
            if not priced:
                _refuse_unpriced(accounts, provider, model)
            short = [pair for pair in accounts if pair[1].free < amounts[pair[0].place]]
            if not short:
                break
            await self._obtain(short, amounts)
        else:
            raise Throttled("other calls took what was left of the budget each time", retry_after=1.0)
        held = Held(call, amounts, accounts, self._clock.monotonic())
        held.attempt, held.provider, held.model, held.tags = attempt, provider, model, tags
        for gauge, account in accounts:
            account.held += amounts[gauge.place]
            account.open += 1
            account.used_at = now
        self.open[id(held)] = held
        return held

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
        held = _own(reserve)
        if held.state == "settled":
            return held.cost
        usage = _sound(usage)
        held.cost = 0 if price is None else max(0, min(price.cost(usage), MOST_CALL))
        self._pay(held, Amounts(held.cost, usage.tokens_in + usage.tokens_out, 1, 0))
        held.state = "settled"
        row = Spend(
            id=f"{self._holder}{next(self._charges):012x}",
            request_id=ctx.request_id,
            attempt=held.attempt,
            at=self._clock.now(),
            team=held.call.team,
            key=held.call.principal,
            route=held.call.route,
            provider=provider or held.provider,
            model=model or held.model,
            price="" if price is None else price.version,
            priced=price is not None,
            usage=usage,
            cost=held.cost,
            outcome=outcome,
            tags=held.tags,
            took=max(1, int((self._clock.monotonic() - held.opened) * 1e6)),
        )
        self._ledger.add((ctx.tenant, row))
        return held.cost

    async def release(self, ctx: Context, reserve: Reserve) -> None:
        held = _own(reserve)
        if held.state in ("open", "expired"):
            self._pay(held, Amounts(0, 0, 0, 0))
            held.state = "released"

    def expire(self, older_than: float) -> int:
        """Take open reserves from before that monotonic moment for lost: they count at their full amount."""
        lost = []
        for held in self.open.values():
            if held.opened >= older_than:
                break
            lost.append(held)
        for held in lost:
            self._pay(held, held.amounts._replace(concurrency=0))
            held.state = "expired"
        return len(lost)

    def forget(self, gauges: Sequence[Gauge] | None = None) -> None:
        """Drop gauges that nothing is in, and what is remembered of which gauges cover what."""
        for gauge in self.gauges.values():
            gauge.refusal = None
        for gauge in gauges or ():
            self.gauges.pop(gauge.counter, None)
            self._turns.pop(gauge.counter, None)
        self._covering.clear()

    async def obtain_ahead(self, wanted: Sequence[tuple[Gauge, Account]]) -> None:
        """Take allowances before a call needs them. Raises Unavailable."""
        needs = [(gauge, account, 0) for gauge, account in wanted if gauge.counter not in self._busy]
        if needs:
            await self._take(needs)

    async def taken(self) -> None:
        """Wait until no allowance is on its way from the shared count."""
        while self._taking:
            await asyncio.wait(self._taking)

    def _pay(self, held: Held, used: Amounts) -> None:
        """Replace what was set aside by what was used. Nothing here waits or fails."""
        if held.state == "open":
            del self.open[id(held)]
            for gauge, account in held.accounts:
                account.held -= held.amounts[gauge.place]
                account.spent += used[gauge.place]
                account.open -= 1
            return
        # The accounts are closed, and what was counted then is corrected at the shared count.
        before = held.amounts._replace(concurrency=0) if held.state == "expired" else Amounts(0, 0, 0, 0)
        for gauge, account in held.accounts:
            more = used[gauge.place] - before[gauge.place]
            if more and gauge.counter.window is not None:
                self.late.append((gauge.counter, account.span, -more))

    def _gauges(self, tenant: str, call: Call) -> tuple[Gauge, ...]:
        known = self._covering.get((tenant, call))
        return self._cover(tenant, call) if known is None else known

    def _cover(self, tenant: str, call: Call) -> tuple[Gauge, ...]:
        if len(self._covering) >= _MOST_KNOWN:
            self._covering.clear()
        found = []
        for rule in self._book.rules(tenant).rules:
            subject = rule.subject(call)
            if subject is None:
                continue
            for measure, window, limit in rule.bounds:
                counter = Counter(tenant, rule.spec.name, storable(subject), measure, window)
                gauge = self.gauges.setdefault(counter, Gauge(counter, limit))
                gauge.limit = limit
                found.append(gauge)
        covering = self._covering[tenant, call] = tuple(found)
        return covering

    async def _obtain(self, short: Sequence[tuple[Gauge, Account]], amounts: Amounts) -> None:
        """Take what is missing from the shared count. Raises BudgetExceeded."""
        # Of many calls that find the same allowance used up one asks, and the others find what it was given.
        async with self._turns.setdefault(short[0][0].counter, asyncio.Lock()):
            # What another take brings may be all that is missing, and what it took must not be taken for used up.
            while under_way := [self._busy[gauge.counter] for gauge, _ in short if gauge.counter in self._busy]:
                await asyncio.wait(under_way)
            needs = [(gauge, account, amounts[gauge.place] - account.free) for gauge, account in short]
            needs = [each for each in needs if each[2] > 0]
            self._raise_refusal(needs)
            if needs:
                await self._take(needs)
                self._raise_refusal([(g, a, amounts[g.place] - a.free) for g, a, _ in needs])

    async def _take(self, needs: Sequence[tuple[Gauge, Account, int]]) -> None:
        # A caller who leaves, or a stop, must not take an allowance along that has just been taken.
        task = asyncio.create_task(self._fetch(needs, self._begun(needs)))
        self._taking.add(task)
        task.add_done_callback(self._taking.discard)
        await asyncio.shield(task)

    def _begun(self, needs: Sequence[tuple[Gauge, Account, int]]) -> asyncio.Future[None]:
        """Mark the counters as being taken from, before anything waits."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for gauge, account, _ in needs:
            account.open += 1
            self._busy[gauge.counter] = done
        return done

    async def _fetch(self, needs: Sequence[tuple[Gauge, Account, int]], done: asyncio.Future[None]) -> None:
        try:
            demands = [gauge.demand(account, need) for gauge, account, need in needs]
            grants = await self._counters.take(demands)
            for (gauge, account, _), grant in zip(needs, grants, strict=True):
                account.granted += grant.amount
                account.used_at = micros(self._clock.now())
                gauge.refusal = None
                if not grant.amount:
                    gauge.chunk = 0  # nothing to be had beforehand: the next call that needs something asks again
            until = self._clock.monotonic() + _REFUSED_SECONDS
            for (gauge, account, need), grant in zip(needs, grants, strict=True):
                if need > 0 and grant.amount == 0:
                    clears = await self._clears(gauge, account, need)
                    gauge.refusal = Refusal(grant.left, until, clears)
        finally:
            for gauge, account, _ in needs:
                account.open -= 1
                if self._busy.get(gauge.counter) is done:
                    del self._busy[gauge.counter]
            done.set_result(None)

    def _raise_refusal(self, needs: Sequence[tuple[Gauge, Account, int]]) -> None:
        for gauge, _, need in needs:
            refusal = gauge.refusal
            if refusal is not None and need > refusal.left and self._clock.monotonic() < refusal.until:
                raise _exceeded(gauge, need, refusal, micros(self._clock.now()))

    async def _clears(self, gauge: Gauge, account: Account, need: int) -> int:
        """When so much will be free again, if no other call comes before."""
        if gauge.counter.window is None or need > gauge.limit:
            return 0
        span = account.span
        slices = [Span(start, start + span.end - span.start) for start in (span.start, *span.beside)]
        levels = await self._counters.levels([(gauge.counter, each) for each in slices])
        taken = sum(levels)
        for each, level in sorted(zip(slices, levels, strict=True)):
            taken -= level
            if taken + need <= gauge.limit:
                return each.end + span.reach
        return span.clears


def _sound(usage: Usage) -> Usage:
    """The usage within what can be: an upstream may count whatever it likes, and one bad row must not stop the rest."""
    counts = (usage.tokens_in, usage.tokens_out, usage.cached, usage.cache_writes, usage.reasoning)
    if min(counts) >= 0 and max(counts) <= _MOST_TOKENS:
        return usage
    tokens_in, tokens_out, cached, cache_writes, reasoning = (max(0, min(n, _MOST_TOKENS)) for n in counts)
    return Usage(tokens_in, tokens_out, cached, cache_writes, reasoning, estimated=True)


def _own(reserve: Reserve) -> Held:
    if not isinstance(reserve, Held):
        raise StanchionError("the reserve is not of this purse")
    return reserve


def _refuse_unpriced(accounts: Sequence[tuple[Gauge, Account]], provider: str, model: str) -> None:
    for gauge, _ in accounts:
        if gauge.counter.measure == "cost":
            raise BudgetExceeded(
                f"the budget {gauge.counter.budget} limits cost, and no price of {provider}/{model:.120} is known",
                next_step='Declare a PriceSpec for it; "0" is what costs nothing.',
            )


def _exceeded(gauge: Gauge, need: int, refusal: Refusal, now: int) -> BudgetExceeded:
    counter = gauge.counter
    if counter.measure == "concurrency":
        return BudgetExceeded(
            f"the budget {counter.budget} allows {gauge.limit} calls at once for {counter.subject}",
            next_step="Send the request again when others have ended.",
            retry_after=1.0,
        )
    left, limit, wanted = (_amount(gauge, number) for number in (refusal.left, gauge.limit, need))
    detail = f"the budget {counter.budget} has {left} of {limit} left in this {counter.window} for {counter.subject}"
    if need > gauge.limit:
        return BudgetExceeded(f"{detail}; {wanted} more never fit", next_step="Ask for less in one call.")
    when = moment(refusal.clears).isoformat(timespec="seconds")
    return BudgetExceeded(
        f"{detail}, and {wanted} more are needed",
        next_step=f"Wait until {when}, or have the budget raised.",
        retry_after=float(max(1, math.ceil((refusal.clears - now) / SECOND))),
    )


def _amount(gauge: Gauge, number: int) -> str:
    return f"{dollars(number)[:-6]} $" if gauge.counter.measure == "cost" else f"{number} {gauge.counter.measure}"
