"""A time limit that raises our error and says whose time ran out: the caller's, or the limit's own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from types import TracebackType
from typing import Any, Generic, Literal, TypeVar

from ..clock import Clock
from ..context import Context
from ..errors import DeadlineExceeded

T = TypeVar("T")


class Begun(Generic[T]):
    """An awaitable, run up to its first wait: if it never waits, `value` is its result, else await this for it.

    A timer costs several times what a short call does, and a call that never waits cannot be stopped by one.
    """

    __slots__ = ("_steps", "_wanted", "value", "waits")
    value: T

    def __init__(self, awaitable: Awaitable[T]) -> None:
        self._steps = awaitable.__await__()
        try:
            self._wanted: object = next(self._steps)
            self.waits = True
        except StopIteration as done:
            self.value = done.value
            self.waits = False

    def __await__(self) -> Generator[Any, None, T]:
        # As `yield from` does it (PEP 380), but from the second step on. A task only ever sends None.
        while True:
            try:
                yield self._wanted
            except BaseException as error:
                thrown: BaseException | None = error
            else:
                thrown = None
            try:
                self._wanted = next(self._steps) if thrown is None else self._steps.throw(thrown)
            except StopIteration as done:
                value: T = done.value
                return value


class bounded:
    """`async with bounded(ctx, 2.0, clock=clock) as ctx:` gives the block at most `seconds`.

    It never goes past the caller's deadline, and keeps `reserve` seconds of that back for what comes after.
    The block's Context holds the earlier deadline.

    `passed` tells afterwards which limit ended the block: `own` is `seconds`, `caller` the caller's deadline.
    Raises DeadlineExceeded; a TimeoutError of the block's own passes through unchanged.
    """

    __slots__ = ("_clock", "_ctx", "_ends", "_reserve", "_scope", "_seconds", "_tighter", "passed")

    def __init__(self, ctx: Context, seconds: float | None = None, *, clock: Clock, reserve: float = 0.0) -> None:
        self._ctx = ctx
        self._seconds = seconds
        self._clock = clock
        self._reserve = reserve
        self._ends: float | None = None
        self._scope: asyncio.Timeout | None = None
        self._tighter: Literal["own", "caller"] = "own"
        self.passed: Literal["own", "caller"] | None = None

    async def run(self, call: Callable[[Context], Awaitable[T]]) -> T:
        """What `call` returns, within the limit; it costs no timer as long as the call does not wait."""
        begun = Begun(call(self._narrow()))
        if not begun.waits:
            return begun.value
        if self._ends is None:
            return await begun
        async with self:
            return await begun

    async def __aenter__(self) -> Context:
        ctx = self._ctx if self._ends is not None else self._narrow()
        if self._ends is not None:
            self._scope = asyncio.timeout(self._ends - self._clock.monotonic())
            await self._scope.__aenter__()
        return ctx

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._scope is None:
            return
        try:
            await self._scope.__aexit__(kind, error, trace)
        except TimeoutError:
            raise self._error() from error

    def _narrow(self) -> Context:
        now = self._clock.monotonic()
        if self._seconds is not None:
            self._ends = now + self._seconds
        if self._ctx.deadline is not None:
            last = self._ctx.deadline - self._reserve
            if self._ends is None or last < self._ends:
                self._ends, self._tighter = last, "caller"
            if last <= now:
                raise self._error()
        return self._ctx.until(self._ends) if self._tighter == "own" and self._ends is not None else self._ctx

    def _error(self) -> DeadlineExceeded:
        self.passed = self._tighter
        if self.passed == "own":
            return DeadlineExceeded(f"the limit of {self._seconds:g} s passed")
        return DeadlineExceeded("the caller's deadline passed")
