"""What a system declares of events: their types, and the functions that handle them."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import wraps
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

from ..core.context import Context
from ..core.errors import Misconfigured
from ..events import Commit, Event, Events, EventSpec, HandlerSpec, Receipt, Value
from .handles import Bound

T = TypeVar("T")
H = TypeVar("H", bound=Bound)
Handled = Callable[..., Any]


class DeclaredEvent(Bound, Generic[T]):
    """A declared event type: published with its data as the declared type."""

    def __init__(self, spec: EventSpec) -> None:
        super().__init__(f"event:{spec.type}")
        self._spec = spec

    @property
    def type(self) -> str:
        """The event type, as handlers name it."""
        return self._spec.type

    def specs(self) -> Sequence[object]:
        return (self._spec,)

    def of(self, data: T, *, source: str, subject: str = "", **extensions: Value) -> Event:
        """An event of this type, for `Commit.publish` or as what a handler returns."""
        return Event.of(self._spec.type, source, data, subject=subject, **extensions)

    async def publish(
        self,
        ctx: Context,
        data: T,
        *,
        source: str,
        subject: str = "",
        after: datetime | None = None,
        **extensions: Value,
    ) -> Receipt:
        """Publish one event and return once it is durable. Raises what `Events.publish` does."""
        door: Events = self._door(Events)
        event = self.of(data, source=source, subject=subject, **extensions)
        return (await door.publish(ctx, [event], after=after))[0]


class Handler(Bound):
    """A declared handler: a consumer under its name. Called as the function it is made of, it handles nothing."""

    def __init__(self, spec: HandlerSpec, function: Handled) -> None:
        super().__init__(f"handler:{spec.name}")
        self.spec = spec
        self.function = function

    def specs(self) -> Sequence[object]:
        return (self.spec,)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself, as a test may."""
        return self.function(*args, **kwargs)


class EventDeclarations:
    """The part of System that declares events."""

    def _keep(self, handle: H) -> H:
        raise NotImplementedError

    def event(self, kind: str, data: type[T], *, description: str = "") -> DeclaredEvent[T]:
        """Declare an event type and the type of its data, from which its schema is made."""
        return self._keep(DeclaredEvent[T](EventSpec(type=kind, data=data, description=description)))

    def on(
        self,
        *types: str | DeclaredEvent[Any],
        name: str = "",
        batch: int = 1,
        attempts: int = 5,
        base: float = 0.5,
        maximum: float = 300.0,
        seconds: float = 60.0,
        concurrency: int = 64,
        scopes: frozenset[str] | None = None,
    ) -> Callable[[Handled], Handler]:
        """Declare a function that handles events of these types: a type, `prefix.*` for all below it, `*` for all.

        Of its parameters one annotated `Context` gets the Context, with the rights of the event's author; one annotated
        `Commit` what commits with the handling; the one left the event: as `Event`, or its data as the type named
        (with `batch` over 1 a `Sequence` of them). Events that it returns are published as its consequences. `name` is
        the consumer's, the function's own if empty: it stays the same when the function is renamed. The rest is as
        `HandlerSpec` has it.
        """
        named = tuple(each if isinstance(each, str) else each.type for each in types)

        def declare(function: Handled) -> Handler:
            own = name or getattr(function, "__name__", "")
            parameters = _parameters(own, function, batch=batch > 1)
            spec = HandlerSpec(
                name=own,
                types=named,
                function=_normal(function, parameters),
                data=parameters.data,
                batch=batch,
                attempts=attempts,
                base=base,
                maximum=maximum,
                seconds=seconds,
                concurrency=concurrency,
                scopes=scopes,
            )
            return self._keep(Handler(spec, function))

        return declare


class _Parameters:
    """By which names a function takes what; empty: not at all."""

    def __init__(self) -> None:
        self.context = ""
        self.commit = ""
        self.event = ""
        self.data: Any = None


def _parameters(name: str, function: Handled, *, batch: bool) -> _Parameters:
    hints = get_type_hints(function)
    found = _Parameters()
    for parameter in inspect.signature(function).parameters:
        hint = hints.get(parameter)
        if hint is Context:
            found.context = parameter
        elif hint is Commit:
            found.commit = parameter
        elif found.event:
            raise Misconfigured(f"the handler {name} has a parameter {parameter!r} that is nothing it can be given")
        else:
            found.event = parameter
            found.data = _data(name, hint, batch=batch)
    if not found.event:
        raise Misconfigured(f"the handler {name} has no parameter for the event")
    return found


def _data(name: str, hint: Any, *, batch: bool) -> Any:
    if batch:
        inside = get_args(hint)
        origin = get_origin(hint)
        if len(inside) != 1 or not (isinstance(origin, type) and issubclass(origin, Sequence)):
            raise Misconfigured(f"the handler {name} takes batches, so its event is annotated as Sequence[...]")
        hint = inside[0]
    return None if hint in (None, Event) else hint


def _normal(function: Handled, parameters: _Parameters) -> Handled:
    """The function as workers call it: context, event, commit, each of which it may not want."""

    def named(ctx: Context, given: Any, commit: Commit) -> dict[str, Any]:
        wanted = ((parameters.context, ctx), (parameters.event, given), (parameters.commit, commit))
        return {name: value for name, value in wanted if name}

    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def later(ctx: Context, given: Any, commit: Commit) -> Any:
            waited: Awaitable[Any] = function(**named(ctx, given, commit))
            return await waited

        return later

    @wraps(function)
    def now(ctx: Context, given: Any, commit: Commit) -> Any:
        return function(**named(ctx, given, commit))

    return now
