"""What this process may spend of each limit, and what it has: all of it in memory, and no method waits."""

from __future__ import annotations

from typing import NamedTuple

from ..contract.money import Measure
from .counters import Counter, Demand
from .windows import FOREVER, Span, span

# A process takes a sixty-fourth of the limit, or enough for eight more calls like the one that needs it.
_PARTS = 64
_CALLS = 8


class Amounts(NamedTuple):
    """What one call uses, by measure."""

    cost: int
    tokens: int
    requests: int = 1
    concurrency: int = 1


PLACE: dict[Measure, int] = {"cost": 0, "tokens": 1, "requests": 2, "concurrency": 3}
"""Where a measure stands among `Amounts`."""


class Account:
    """This process's allowance of one counter in one span: `granted` was taken from the shared count for good.

    `held` is set aside for calls under way, `spent` is what ended calls cost, `open` the number of those who still
    need the account. A call that costs more than was set aside for it leaves a debt, which is settled with the shared
    count whatever the limit.
    """

    __slots__ = ("granted", "held", "open", "span", "spent", "used_at")

    def __init__(self, span: Span) -> None:
        self.span = span
        self.granted = 0
        self.held = 0
        self.spent = 0
        self.open = 0
        self.used_at = 0

    @property
    def free(self) -> int:
        """What a call can still be given; negative: a debt."""
        return self.granted - self.held - self.spent


class Gauge:
    """One limit of one budget for one subject. `at` gives the account of the present span.

    `ahead` is the account of the next span, where an allowance has been taken before it begins.
    """

    __slots__ = ("ahead", "chunk", "counter", "limit", "place", "present", "refusal", "retired")

    def __init__(self, counter: Counter, limit: int) -> None:
        self.counter = counter
        self.place = PLACE[counter.measure]
        self.limit = limit
        self.present = Account(FOREVER if counter.window is None else Span(0, 0))
        self.ahead: Account | None = None
        self.retired: list[Account] = []
        self.chunk = 0
        self.refusal: Refusal | None = None

    def at(self, now: int) -> Account:
        """The account of the span of that moment."""
        return self.present if now < self.present.span.end else self._turn(now)

    def _turn(self, now: int) -> Account:
        present = Account(span(self.counter.window, now))
        # A clock that steps back, between machines or by hand, must not make an old account the present one.
        self.retired += [each for each in (self.present, self.ahead) if each is not None and _matters(each)]
        if self.ahead is not None and self.ahead.span.start == present.span.start:
            present = self.ahead
            self.retired = [each for each in self.retired if each is not present]
        self.present, self.ahead, self.refusal = present, None, None
        return present

    def demand(self, account: Account, need: int) -> Demand:
        """What to take so that `need` more is there, and some for the calls that follow."""
        self.chunk = max(self.limit // _PARTS, _CALLS * need, self.chunk if need == 0 else 0)
        return Demand(self.counter, account.span, need, self.chunk, self.limit)

    @property
    def low(self) -> bool:
        """Whether calls will soon have to wait for an allowance."""
        return self.present.free * 2 < self.chunk

    @property
    def accounts(self) -> list[Account]:
        """All that this process still has to do with."""
        return [*self.retired, self.present, *([] if self.ahead is None else [self.ahead])]


class Refusal(NamedTuple):
    """The shared count had no more than `left`; it is not asked again before `until` (monotonic seconds).

    `clears` is the moment at which more will be there, in microseconds; 0 where nobody knows.
    """

    left: int
    until: float
    clears: int


def _matters(account: Account) -> bool:
    return bool(account.granted or account.held or account.spent or account.open)
