"""The gate in every door: a call is authorised, bounded, traced, metered and audited, or it is not made.

`Gate.wrap` turns a module's service into an object of the same contract. Nothing else hands out services, so
there is no other way in. The gate works where the service is built: a remote call passes it on the far side.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractContextManager, aclosing
from typing import Any, Protocol, TypeVar, cast

from .clock import Clock
from .context import Context, Effect, Rights
from .contract import Action, Method, methods
from .errors import DeadlineExceeded, NotAllowed, StanchionError
from .redaction import redact
from .resilience.deadline import Begun

T = TypeVar("T")
_DECISIONS = 50_000


class Authoriser(Protocol):
    """Says whether policies permit a call."""

    @property
    def generation(self) -> int:
        """Grows whenever any answer of `permits` may have changed."""
        ...

    def permits(self, ctx: Context, action: Action, resource: str) -> bool:
        """Whether the caller may do this to the resource (`*`: to all of its type) in its own tenant."""
        ...


class Recorder(Protocol):
    """Writes audit events outside the transaction of a change."""

    async def record(self, effect: Effect, outcome: str) -> None:
        """Return once the event is durable; `outcome` is done, intent, failed or denied."""
        ...


class Instruments(Protocol):
    """Measures calls."""

    def observe(self, action: str, outcome: str, seconds: float) -> None:
        """Count one finished call; `outcome` is `ok` or an error code."""
        ...

    def span(self, ctx: Context, name: str, resource: str) -> AbstractContextManager[Context]:
        """Run the block as a child span; gives the Context that belongs inside."""
        ...

    def fault(self, ctx: Context, action: str, error: Exception) -> None:
        """Log an error that is not of our tree, with its traceback and the trace id."""
        ...


class Gate:
    """Wraps services. One gate serves a whole process."""

    def __init__(self, *, authoriser: Authoriser, recorder: Recorder, instruments: Instruments, clock: Clock) -> None:
        self._authoriser = authoriser
        self._recorder = recorder
        self._instruments = instruments
        self._clock = clock
        self._decisions: dict[tuple[str, str, Rights, str, str], bool] = {}
        self._generation = -1

    def wrap(self, contract: type[T], service: T) -> T:
        """The service behind its gate. Raises Misconfigured if a contract method names no action."""
        entries = {m.name: self._entry(m, getattr(service, m.name)) for m in methods(contract)}
        guarded = type(f"Gated{contract.__name__}", (), entries)
        # The class has every method of the Protocol by construction; no checker can see that.
        return cast(T, guarded())

    def allowed(self, ctx: Context, action: Action, resource: str) -> bool:
        """The policy's answer, from the cache while no policy has changed."""
        generation = self._authoriser.generation
        if self._generation != generation or len(self._decisions) > _DECISIONS:
            self._decisions.clear()
            self._generation = generation
        key = (ctx.tenant, ctx.principal, ctx.rights, action.name, resource)
        answer = self._decisions.get(key)
        if answer is None:
            answer = self._decisions[key] = self._authoriser.permits(ctx, action, resource)
        return answer

    async def _denied(self, ctx: Context, action: Action, resource: str) -> NotAllowed:
        await self._recorder.record(_effect(ctx, action, resource), "denied")
        return NotAllowed(
            f"{ctx.principal} lacks {action.name} on {action.resource} {redact(resource)}",
            next_step=f"Ask for a key with the scope {action.name}, or a role whose policy permits it.",
        )

    def _limit(self, ctx: Context, action: Action, now: float) -> float | None:
        """The monotonic moment at which this call must end; raises DeadlineExceeded if it has passed."""
        own = None if action.seconds is None else now + action.seconds
        if ctx.deadline is None:
            return own
        if ctx.deadline <= now:
            raise DeadlineExceeded(f"no time was left before {action.name} began")
        return ctx.deadline if own is None else min(own, ctx.deadline)

    def _entry(self, method: Method, bound: Callable[..., Any]) -> Callable[..., Any]:
        if method.streams:
            return self._stream_entry(method, bound)
        return self._call_entry(method, bound)

    def _call_entry(self, method: Method, bound: Callable[..., Any]) -> Callable[..., Any]:
        action, instruments, clock = method.action, self._instruments, self._clock
        resource_of = _resource_reader(method)
        reads = action.effect == "read"

        async def call(self_: object, ctx: Context, *args: Any, **kwargs: Any) -> Any:
            started = clock.monotonic()
            outcome = "ok"
            try:
                resource = resource_of(args, kwargs)
                if not self.allowed(ctx, action, resource):
                    raise await self._denied(ctx, action, resource)
                limit = self._limit(ctx, action, started)
                if reads and not ctx.trace.sampled:
                    begun = Begun(bound(ctx, *args, **kwargs))
                    return await self._bounded(limit, begun, action) if begun.waits else begun.value
                with instruments.span(ctx, action.name, resource) as inner:
                    if reads:
                        return await self._bounded(limit, Begun(bound(inner, *args, **kwargs)), action)
                    return await self._effect(limit, bound, inner, args, kwargs, action, resource)
            except StanchionError as error:
                outcome = error.code
                raise
            except Exception as error:
                outcome = "internal_error"
                instruments.fault(ctx, action.name, error)
                raise StanchionError(f"{action.name} failed inside the service") from error
            except asyncio.CancelledError:
                outcome = "cancelled"
                raise
            finally:
                instruments.observe(action.name, outcome, clock.monotonic() - started)

        call.__name__, call.__doc__ = method.name, bound.__doc__
        return call

    async def _effect(
        self,
        limit: float | None,
        bound: Callable[..., Any],
        ctx: Context,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        action: Action,
        resource: str,
    ) -> Any:
        """Run a method that changes something, so that the audit log tells of it whatever happens.

        A `write` is recorded by the database in its own transaction; one that changed nothing is recorded
        here. An `outward` effect is announced first: if the log cannot take the intent, nothing is done.
        """
        effect = _effect(ctx, action, resource)
        if action.effect == "outward":
            await self._recorder.record(effect, "intent")
        try:
            answer = await self._bounded(limit, Begun(bound(ctx.within(effect), *args, **kwargs)), action)
        except BaseException as error:
            effect.note(error=error.code if isinstance(error, StanchionError) else type(error).__name__)
            await asyncio.shield(self._recorder.record(effect, "failed"))
            raise
        if action.effect == "outward" or effect.recorded == 0:
            await asyncio.shield(self._recorder.record(effect, "done"))
        return answer

    def _stream_entry(self, method: Method, bound: Callable[..., Any]) -> Callable[..., Any]:
        action, instruments, clock = method.action, self._instruments, self._clock
        resource_of = _resource_reader(method)

        async def stream(self_: object, ctx: Context, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            started = clock.monotonic()
            outcome = "ok"
            try:
                resource = resource_of(args, kwargs)
                if not self.allowed(ctx, action, resource):
                    raise await self._denied(ctx, action, resource)
                limit = self._limit(ctx, action, started)
                with instruments.span(ctx, action.name, resource) as inner:
                    items = self._items(limit, bound, inner, args, kwargs, action, resource)
                    async with aclosing(items):
                        async for item in items:
                            yield item
            except StanchionError as error:
                outcome = error.code
                raise
            except Exception as error:
                outcome = "internal_error"
                instruments.fault(ctx, action.name, error)
                raise StanchionError(f"{action.name} failed inside the service") from error
            except (asyncio.CancelledError, GeneratorExit):
                outcome = "cancelled"
                raise
            finally:
                instruments.observe(action.name, outcome, clock.monotonic() - started)

        stream.__name__, stream.__doc__ = method.name, bound.__doc__
        return stream

    async def _items(
        self,
        limit: float | None,
        bound: Callable[..., Any],
        ctx: Context,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        action: Action,
        resource: str,
    ) -> AsyncGenerator[Any, None]:
        effect = _effect(ctx, action, resource)
        changes = action.effect != "read"
        if action.effect == "outward":
            await self._recorder.record(effect, "intent")
        source = bound(ctx.within(effect) if changes else ctx, *args, **kwargs)
        try:
            while True:
                try:
                    yield await self._bounded(limit, Begun(anext(source)), action)
                except StopAsyncIteration:
                    break
        except BaseException as error:
            if changes:
                effect.note(error=error.code if isinstance(error, StanchionError) else type(error).__name__)
                await asyncio.shield(self._recorder.record(effect, "failed"))
            raise
        finally:
            await source.aclose()
        if changes and (action.effect == "outward" or effect.recorded == 0):
            await asyncio.shield(self._recorder.record(effect, "done"))

    async def _bounded(self, limit: float | None, begun: Begun[Any], action: Action) -> Any:
        """Await the call until the moment `limit`; only our own limit becomes DeadlineExceeded."""
        if not begun.waits:
            return begun.value
        if limit is None:
            return await begun
        scope = asyncio.timeout(limit - self._clock.monotonic())
        try:
            async with scope:
                return await begun
        except TimeoutError as error:
            if not scope.expired():
                raise
            raise DeadlineExceeded(f"{action.name} did not finish within its time limit") from error


def _resource_reader(method: Method) -> Callable[[tuple[Any, ...], dict[str, Any]], str]:
    """How to find the acted-on resource's id among the arguments; `*` where the action has none."""
    by = method.action.by
    if by is None:
        return lambda args, kwargs: "*"
    position = list(method.arguments).index(by)

    def read(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        return str(args[position] if position < len(args) else kwargs[by])

    return read


def _effect(ctx: Context, action: Action, resource: str) -> Effect:
    return Effect(
        action=action.name,
        kind=action.effect,
        # An id comes from the caller, who may have sent a key or an address in its place. The log never forgets.
        resource=f"{action.resource}::{redact(resource)}",
        tenant=ctx.tenant,
        principal=ctx.principal,
        request_id=ctx.request_id,
        trace_id=ctx.trace.trace_id,
    )
