"""Every AI operation is a ladder: what to try first, what instead, and what still answers when all else fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Literal, NamedTuple, TypeVar

from ..clock import Clock
from ..context import Context
from ..errors import (
    BudgetExceeded,
    CircuitOpen,
    DeadlineExceeded,
    InvalidInput,
    Misconfigured,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    StanchionError,
    Unavailable,
)
from ..tasks import end_tasks
from .breaker import Breaker, Permit
from .deadline import Begun, bounded

In = TypeVar("In")
Out = TypeVar("Out")

# The caller's own faults: another rung would only hide them.
CALLERS_FAULT = (InvalidInput, NotAuthenticated, NotAllowed, NotFound, BudgetExceeded)


class Decline(Exception):
    """Raised by a rung that works but has no answer to this input, such as a rule that does not apply.

    A control signal inside a ladder, not an error of the tree.
    """


class _CallerLate(Exception):
    """The caller's deadline, not the rung's own limit, ended the call."""


class _Lost(Exception):
    """No attempt of a hedged rung answered."""

    def __init__(self) -> None:
        super().__init__()
        self.indexes: set[int] = set()
        self.errors: list[Exception] = []
        self.tried: list[Attempt] = []

    def add(self, index: int, error: Exception, attempt: Attempt) -> None:
        """One attempt failed."""
        self.indexes.add(index)
        self.errors.append(error)
        self.tried.append(attempt)


@dataclass(frozen=True, slots=True)
class Hedge:
    """A second attempt beside one that takes longer than `after` seconds; the first answer wins, the other ends.

    `on` is the next rung, or the same one again where that reaches another replica.
    Source: J. Dean, L. A. Barroso, "The tail at scale", 2013.
    """

    after: float
    on: Literal["next", "same"] = "next"

    def __post_init__(self) -> None:
        if self.after <= 0:
            raise Misconfigured(f"a hedge waits longer than 0 seconds, not {self.after}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung(Generic[In, Out]):
    """One way to the answer.

    `timeout` is in seconds. `always` marks a rung that costs next to nothing (a rule, a default): it still runs
    when the caller's time is up. A hedged rung runs in a task of its own.
    """

    name: str
    call: Callable[[Context, In], Awaitable[Out]]
    timeout: float | None = None
    breaker: Breaker | None = None
    always: bool = False
    hedge: Hedge | None = None


class Attempt(NamedTuple):
    """A rung that gave no answer: the error's code (`declined` for a Decline) and the seconds it took."""

    rung: str
    code: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Step(Generic[Out]):
    """The answer, the rung that gave it, and what was tried before; `index` 0 is the first choice."""

    value: Out
    rung: str
    index: int
    tried: tuple[Attempt, ...]


class Ladder(Generic[In, Out]):
    """Tries its rungs in order until one answers.

    `reserve` is the part of the caller's time, in seconds, that is kept back for the rungs marked `always`.
    """

    def __init__(self, rungs: Sequence[Rung[In, Out]], *, clock: Clock, reserve: float = 0.005) -> None:
        names = [rung.name for rung in rungs]
        if not names or len(set(names)) < len(names):
            raise Misconfigured(f"a ladder needs at least one rung, each with its own name; got {names}")
        self.rungs = tuple(rungs)
        self._clock = clock
        self._reserve = reserve if any(rung.always for rung in rungs) else 0.0

    async def run(self, ctx: Context, item: In) -> Step[Out]:
        """The first answer.

        Raises the caller's own faults at once (invalid input, no permission, unknown name, budget);
        DeadlineExceeded when the caller's time is up and no rung marked `always` answers; Unavailable, with
        every rung and its reason, when none answered. Cancellation passes through and counts neither way.
        """
        tried: tuple[Attempt, ...] = ()
        errors: list[Exception] = []
        cutoff = None if ctx.deadline is None else ctx.deadline - self._reserve
        late = False
        failed: set[int] = set()
        for index, rung in enumerate(self.rungs):
            started = self._clock.monotonic()
            late = late or (cutoff is not None and started >= cutoff)
            if index in failed or (late and not rung.always):
                continue
            try:
                if rung.hedge is not None:
                    won = await self._raced(index, rung.hedge, ctx, item, cutoff)
                    return replace(won, tried=(*tried, *won.tried))
                value = await self._attempt(rung, ctx, item, cutoff)
            except CALLERS_FAULT:
                raise
            except _Lost as lost:
                failed |= lost.indexes
                errors += lost.errors
                late = late or any(isinstance(error, _CallerLate) for error in lost.errors)
                tried = (*tried, *lost.tried)
            except Exception as error:
                errors.append(error)
                late = late or isinstance(error, _CallerLate)
                tried = (*tried, Attempt(rung.name, _code(error), self._clock.monotonic() - started))
            else:
                return Step(value, rung.name, index, tried)
        late = late or (cutoff is not None and self._clock.monotonic() >= cutoff)
        raise _failure(tried, errors, late=late)

    async def _raced(self, index: int, hedge: Hedge, ctx: Context, item: In, cutoff: float | None) -> Step[Out]:
        """The first answer of two attempts, of which the second begins late. Raises _Lost if there is none."""
        places = [index, index if hedge.on == "same" else index + 1]
        running: dict[asyncio.Task[Out], tuple[int, float]] = {}

        def begin(place: int) -> None:
            attempt = self._attempt(self.rungs[place], ctx, item, cutoff)
            running[asyncio.create_task(attempt)] = (place, self._clock.monotonic())

        lost = _Lost()
        begin(places[0])
        wait: float | None = hedge.after
        try:
            while running:
                done, _ = await asyncio.wait(running, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
                if not done and places[1] < len(self.rungs):
                    begin(places[1])
                wait = None
                for task in sorted(done, key=lambda each: running[each]):
                    place, started = running.pop(task)
                    name = self.rungs[place].name
                    try:
                        return Step(task.result(), name, place, tuple(lost.tried))
                    except CALLERS_FAULT:
                        raise
                    except Exception as error:
                        lost.add(place, error, Attempt(name, _code(error), self._clock.monotonic() - started))
            raise lost
        finally:
            # What is left behind must have ended before the answer is given: it may hold a connection or a permit.
            await end_tasks(*running)

    async def _attempt(self, rung: Rung[In, Out], ctx: Context, item: In, cutoff: float | None) -> Out:
        breaker = rung.breaker
        permit = None if breaker is None else breaker.admit()
        try:
            if rung.always and cutoff is not None:
                # The caller's passed deadline would stop the very rung that is there to answer then.
                ctx, cutoff = replace(ctx, deadline=None), None
            # `run` has just looked at the caller's time, and a call that never waits needs no limit.
            begun = None if rung.timeout is not None else Begun(rung.call(ctx, item))
            if begun is not None and not begun.waits:
                value = begun.value
            else:
                value = await self._limited(rung, ctx, item, cutoff, begun)
        except BaseException as error:
            if breaker is not None and permit is not None:
                _report(breaker, permit, error)
            raise
        if breaker is not None and permit is not None:
            breaker.succeed(permit)
        return value

    async def _limited(
        self, rung: Rung[In, Out], ctx: Context, item: In, cutoff: float | None, begun: Begun[Out] | None
    ) -> Out:
        if begun is not None and cutoff is None:
            return await begun
        limit = bounded(ctx, rung.timeout, clock=self._clock, reserve=self._reserve)
        try:
            return await limit.run(lambda narrowed: rung.call(narrowed, item) if begun is None else begun)
        except DeadlineExceeded as error:
            # Not by comparing times: an event loop's timer may fire a moment before the clock says so.
            if limit.passed == "caller":
                raise _CallerLate from error
            raise


def _report(breaker: Breaker, permit: Permit, error: BaseException) -> None:
    if isinstance(error, Decline):
        breaker.succeed(permit)
    elif isinstance(error, (*CALLERS_FAULT, CircuitOpen)) or not isinstance(error, Exception):
        breaker.release(permit)
    elif isinstance(error, _CallerLate):
        # A caller in a hurry must not open the circuit for everybody, unless the part is slow by its own rule.
        (breaker.fail if breaker.is_slow(permit) else breaker.release)(permit)
    else:
        breaker.fail(permit, error)


def _code(error: Exception) -> str:
    if isinstance(error, Decline):
        return "declined"
    if isinstance(error, _CallerLate):
        return DeadlineExceeded.code
    return error.code if isinstance(error, StanchionError) else StanchionError.code


def _failure(tried: tuple[Attempt, ...], errors: Sequence[Exception], *, late: bool) -> StanchionError:
    # Codes only: the message of a foreign exception may hold what the caller must not see. The log has the causes.
    story = ", ".join(f"{attempt.rung}: {attempt.code}" for attempt in tried)
    waits = [e.retry_after for e in errors if isinstance(e, StanchionError) and e.retry_after is not None]
    failure: StanchionError
    if late:
        failure = DeadlineExceeded(
            f"the caller's deadline passed ({story})" if story else "the caller's deadline passed"
        )
    else:
        failure = Unavailable(f"no rung answered ({story})", retry_after=min(waits, default=None))
    failure.__cause__ = ExceptionGroup("what each rung raised", errors) if errors else None
    return failure
