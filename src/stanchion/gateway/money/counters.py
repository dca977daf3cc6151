"""The shared count of what processes took of a budget: where several of them meet.

A process takes an allowance from here and spends it in its own memory. What it took counts as used until it gives the
rest back, so a process that is killed never lets another one spend too much.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ..contract.money import Measure, Window
from .windows import Span

_SHARE = 4  # of what is left, the part that a process may take beyond its need: others need some too


class Counter(NamedTuple):
    """What is counted: one measure of one budget for one subject in one kind of window (None: calls under way)."""

    tenant: str
    budget: str
    subject: str
    measure: Measure
    window: Window | None


class Demand(NamedTuple):
    """`need` is taken whole or not at all; `want` comes on top as far as there is plenty."""

    counter: Counter
    span: Span
    need: int
    want: int
    limit: int


class Grant(NamedTuple):
    """What was taken: `need` at least, or nothing. `left` remained before."""

    amount: int
    left: int


def share(demand: Demand, taken: int) -> Grant:
    """What the demand gets where so much of the limit has been taken."""
    left = max(0, demand.limit - taken)
    if demand.need > left:
        return Grant(0, left)
    return Grant(demand.need + min(demand.want, (left - demand.need) // _SHARE), left)


class Counters(Protocol):
    """Counters that survive the process. All methods raise Unavailable."""

    async def take(self, demands: Sequence[Demand]) -> Sequence[Grant]:
        """One grant for each demand, in their order; what all processes took never passes the limit."""
        ...

    async def give(self, changes: Sequence[tuple[Counter, Span, int]]) -> None:
        """Put allowances back; a negative one is a debt, taken whatever the limit."""
        ...

    async def levels(self, places: Sequence[tuple[Counter, Span]]) -> Sequence[int]:
        """What has been taken, of each."""
        ...

    async def subjects(self, tenant: str, budget: str, since: int, limit: int) -> Sequence[str]:
        """Subjects of which something was counted since that moment, as far as the engine can tell."""
        ...

    async def renew(self) -> None:
        """Hold on to the calls under way: what is not renewed for a minute is free again."""
        ...

    async def forget(self, now: int) -> None:
        """Remove what no budget looks at any more."""
        ...
