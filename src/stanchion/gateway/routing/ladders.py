"""The ladder of one call: its candidates from the top, each within its time, behind its breaker, hedged or retried."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar, cast

from ...core.clock import Clock
from ...core.context import Context
from ...core.errors import BudgetExceeded, StanchionError, Throttled, Unavailable
from ...core.resilience import Decline, Hedge, Ladder, Rung, Step
from ..contract.calls import Account, Usage
from .asked import Asked
from .choosing import Candidate
from .served import Served
from .table import Target

T = TypeVar("T")
Attempt = Callable[[Context, Asked, Target, Candidate, int], Awaitable[T]]
_MOST_LADDERS = 1_000
_SHARE = 2 / 3  # of a route's time, for a model with others behind it
_UNUSED = Usage()


@dataclass(slots=True)
class Call:
    """One call under way. `budget` is the refusal of a budget, told if no other model answers instead."""

    asked: Asked
    target: Target
    candidates: list[Candidate]
    budget: BudgetExceeded | None = None


class Ladders:
    """The ladders of all routes. `sending` hears of an attempt before it is made, `served` which rung answered."""

    def __init__(
        self,
        *,
        clock: Clock,
        sending: Callable[[Context, Served], Awaitable[None]],
        served: Callable[[str], None],
    ) -> None:
        self._clock = clock
        self._sending = sending
        self._served = served
        self._kept: dict[tuple[object, ...], tuple[Target, object]] = {}

    async def climb(self, ctx: Context, call: Call, attempt: Attempt[T]) -> Step[T]:
        """What the first model gives that answers. Raises what the caller can act on where none does."""
        spec = call.target.spec
        bounded = (
            ctx if spec.max_latency_ms is None else ctx.until(self._clock.monotonic() + spec.max_latency_ms / 1000)
        )
        try:
            step = await self._ladder(call, attempt).run(bounded, call)
        except Unavailable as error:
            raise _better(error, call) from error
        self._served(_place(call.target, call.candidates[step.index].served))
        return step

    def _ladder(self, call: Call, attempt: Attempt[T]) -> Ladder[Call, T]:
        """The call's candidates as rungs. Nearly all calls of a route have the same ones, so ladders are kept."""
        target = call.target
        key = (id(target), attempt, call.asked.streams, *[id(each.served) for each in call.candidates])
        kept = self._kept.get(key)
        if kept is None or kept[0] is not target:
            if len(self._kept) >= _MOST_LADDERS:
                self._kept.clear()
            kept = self._kept[key] = (target, Ladder(self._rungs(call, attempt), clock=self._clock))
        # The attempt is part of the key, and what it gives is what the ladder gives.
        return cast("Ladder[Call, T]", kept[1])

    def _rungs(self, call: Call, attempt: Attempt[T]) -> list[Rung[Call, T]]:
        spec, last = call.target.spec, len(call.candidates) - 1
        seconds = None if spec.max_latency_ms is None else spec.max_latency_ms / 1000
        hedged = bool(spec.hedge_ms) and not call.asked.streams
        return [
            Rung(
                name=each.served.spec.name,
                call=partial(self._asked, attempt, place),
                timeout=None if seconds is None or place == last else seconds * _SHARE,
                breaker=each.served.breaker,
                hedge=Hedge(spec.hedge_ms / 1000) if spec.hedge_ms and hedged and place < last else None,
            )
            for place, each in enumerate(call.candidates)
        ]

    async def _asked(self, attempt: Attempt[T], place: int, ctx: Context, call: Call) -> T:
        candidate = call.candidates[place]

        def once() -> Awaitable[T]:
            # Drawn, not counted: one request may make several calls, in several processes, and each is billed.
            return attempt(ctx, call.asked, call.target, candidate, random.getrandbits(31))

        await self._sending(ctx, candidate.served)
        try:
            if call.target.spec.attempts == 1:
                return await once()
            # Nothing of an attempt that failed has reached the client, so it may be made again.
            return await candidate.served.retry(call.target.spec.attempts).run(ctx, once, idempotent=True)
        except BudgetExceeded as error:
            # A budget that does not cover this model may cover a cheaper one.
            call.budget = error
            raise Decline from error


def _better(error: Unavailable, call: Call) -> StanchionError:
    """What the caller can act on, where every model failed in one way."""
    causes = error.__cause__.exceptions if isinstance(error.__cause__, ExceptionGroup) else ()
    if call.budget is not None and all(isinstance(each, Decline) for each in causes):
        return call.budget
    if len(causes) == 1 and isinstance(causes[0], StanchionError):
        return causes[0]
    if causes and all(isinstance(each, Throttled) for each in causes):
        return Throttled(error.detail, retry_after=error.retry_after)
    return error


def _place(target: Target, served: Served) -> str:
    """The rung's place in its route."""
    index = target.rungs.index(served.live)
    return "primary" if index == 0 else f"fallback-{index}"


def account_of(
    call: Call, candidate: Candidate, step: Step[T], *, finish: str = "", usage: Usage = _UNUSED, cost: int = 0
) -> Account:
    """What became of a call, as far as is known."""
    served = candidate.served
    return Account(
        upstream=served.upstream.name,
        model=served.model,
        rung=_place(call.target, served),
        route=call.target.route,
        priced=candidate.price is not None,
        finish=finish,
        usage=usage,
        cost=cost,
        tried=tuple([(attempt.rung, attempt.code) for attempt in step.tried]) if step.tried else (),
    )
