"""Where a drill strikes: between a ladder and its rung."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from ...core.clock import Clock
from ...core.context import Context
from ...core.errors import DeadlineExceeded, Unavailable
from ..contract import DrillMode


@dataclass(slots=True)
class Fault:
    """One drill as this process knows it; `until` is on the monotonic clock. `credit` spreads the share evenly."""

    id: str
    mode: DrillMode
    share: float
    delay: float
    until: float
    credit: float = 0.0


class Faults:
    """The faults that hold now, by tenant, model and rung. Costs one look at an empty mapping while there are none."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: dict[tuple[str, str, str], Fault] = {}

    @property
    def any(self) -> bool:
        """Whether a call must ask."""
        return bool(self._held)

    def put(self, tenant: str, model: str, rung: str, fault: Fault) -> None:
        """Let the fault hold, in place of another one of the rung; a known one keeps its own time."""
        known = self._held.get((tenant, model, rung))
        if known is None or known.id != fault.id:
            self._held[tenant, model, rung] = fault

    def keep(self, ids: Iterable[str]) -> None:
        """Forget every fault but these."""
        kept = set(ids)
        self._held = {place: fault for place, fault in self._held.items() if fault.id in kept}

    def expire(self) -> None:
        """Forget those whose time is over."""
        now = self._clock.monotonic()
        self._held = {place: fault for place, fault in self._held.items() if fault.until > now}

    async def strike(self, ctx: Context, model: str, rung: str, *, limit: float) -> None:
        """Do to a call of the rung what its drill says; nothing if it has none.

        A hanging call ends after the rung's own `limit` of seconds, or when the drill does.
        Raises Unavailable, DeadlineExceeded.
        """
        fault = self._held.get((ctx.tenant, model, rung))
        if fault is None:
            return
        left = fault.until - self._clock.monotonic()
        if left <= 0:
            self.expire()
            return
        # Counted, not drawn: of every hundred calls in a row exactly the share is struck.
        fault.credit += fault.share
        if fault.credit < 1 - 1e-9:
            return
        fault.credit -= 1
        match fault.mode:
            case "error":
                raise Unavailable(f"a drill lets {rung} of {model} fail")
            case "slow":
                await asyncio.sleep(min(fault.delay, left))
            case "hang":
                await asyncio.sleep(min(limit, left))
                raise DeadlineExceeded(f"a drill lets {rung} of {model} hang")
