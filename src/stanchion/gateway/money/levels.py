"""How full budgets are, for people to read."""

from __future__ import annotations

from dataclasses import replace

from ...core.clock import Clock, micros, moment
from ..contract.money import BudgetState, Level
from .counters import Counter, Counters
from .purse import MoneyPurse
from .subjects import Bound, rule, storable
from .windows import SECOND, Span, span

_MOST_SUBJECTS = 100
_LOOK_BACK = 31 * 86_400 * SECOND


class Levels:
    """Joins the shared count with what this process holds of it."""

    def __init__(self, purse: MoneyPurse, counters: Counters, *, clock: Clock) -> None:
        self._purse = purse
        self._counters = counters
        self._clock = clock

    async def fill(self, tenant: str, state: BudgetState) -> BudgetState:
        """The budget with its levels. Raises Unavailable."""
        applied = rule(state.spec)
        now = micros(self._clock.now())
        each = applied.name == "*"
        subjects = await self._subjects(tenant, state.spec.name, now) if each else [storable(state.spec.subject)]
        places = [
            (Counter(tenant, state.spec.name, subject, bound.measure, bound.window), bound)
            for subject in subjects
            for bound in applied.bounds
        ]
        spans = [(counter, span(counter.window, now)) for counter, _ in places]
        taken = await self._counters.levels(spans)
        levels = (
            self._level(counter, bound, at, amount)
            for (counter, bound), (_, at), amount in zip(places, spans, taken, strict=True)
        )
        return replace(state, levels=tuple(levels))

    async def _subjects(self, tenant: str, name: str, now: int) -> list[str]:
        here = {c.subject for c in self._purse.gauges if (c.tenant, c.budget) == (tenant, name)}
        stored = await self._counters.subjects(tenant, name, now - _LOOK_BACK, _MOST_SUBJECTS)
        return sorted(here.union(stored))[:_MOST_SUBJECTS]

    def _level(self, counter: Counter, bound: Bound, at: Span, taken: int) -> Level:
        gauge = self._purse.gauges.get(counter)
        known = {at.start, *at.beside}
        mine = [] if gauge is None else [each for each in gauge.accounts if each.span.start in known]
        held = sum(each.held for each in mine)
        free = sum(each.free for each in mine)
        return Level(
            subject=counter.subject,
            measure=bound.measure,
            window=bound.window,
            limit=bound.limit,
            used=max(0, taken - free - held),
            reserved=held,
            resets_at=None if counter.window is None else moment(at.clears),
        )
