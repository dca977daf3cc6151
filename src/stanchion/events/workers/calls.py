"""How a handler is called: with the rights of the event's author, and the event's data as the type it names."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import lru_cache
from typing import Any

import msgspec

from ...core.clock import Clock
from ...core.context import Context, Rights, Trace
from ...core.errors import InvalidInput, Misconfigured
from ..checking import refuse_reserved
from ..contract import Commit, Event, HandlerSpec, check
from ..packing import Packet, who_of
from .buffer import Item
from .within import within

Reads = Callable[[Packet], Any]


def context_of(item: Item, clock: Clock, *, seconds: float, scopes: frozenset[str] | None) -> Context:
    """The Context of a handling: its author's tenant, rights and labels, in its trace, for so many seconds."""
    packet = item.packet
    who, rights, labels = _rights(bytes(packet.who))
    known = packet.trace_id
    # Not from the kernel: that lets go of the interpreter, and the thread that commits holds on to it.
    trace = Trace(known, f"{random.getrandbits(64):016x}", packet.sampled) if known else Trace.new()
    return Context(
        tenant=who[0],
        principal=who[1],
        rights=rights if scopes is None else rights.narrowed(scopes),
        deadline=clock.monotonic() + seconds,
        trace=trace,
        labels=labels,
    )


@lru_cache(maxsize=4_096)
def _rights(packed: bytes) -> tuple[tuple[str, str], Rights, frozenset[Any]]:
    who = who_of(packed)
    limit = None if who.limit is None else frozenset(who.limit)
    rights = Rights(frozenset(who.roles), frozenset(who.scopes), limit)
    return (who.tenant, who.principal), rights, frozenset(who.labels)


def reader(kind: Any) -> Reads:
    """How events become what a handler takes. Raises Misconfigured for a type that JSON cannot be read as."""
    if kind is None or kind is Event:
        return lambda packet: packet.event
    if kind is bytes:
        return lambda packet: packet.data or b""
    validate = getattr(kind, "model_validate_json", None)
    if validate is None:
        try:
            validate = msgspec.json.Decoder(kind).decode
        except TypeError as error:
            raise Misconfigured(f"event data cannot be read as {kind}: {error}") from error

    def read(packet: Packet) -> Any:
        if packet.data is None:
            raise InvalidInput("the event has no data")
        if "json" not in packet.content_type:
            raise InvalidInput(f"the event's data are {packet.content_type[:60]} and no JSON")
        try:
            return validate(packet.data)
        except ValueError as error:  # msgspec's and pydantic's errors both are
            raise InvalidInput(f"the event's data do not fit: {error}") from error

    return read


class Call:
    """One declared handler, ready to be called."""

    def __init__(self, spec: HandlerSpec, threads: Executor) -> None:
        self.spec = spec
        self._read = reader(spec.data)
        self._threads = threads
        self._waits = inspect.iscoroutinefunction(spec.function)

    async def __call__(self, ctx: Context, items: Sequence[Item], commit: Commit) -> None:
        """Run the handler within its seconds; what it returns is in `commit`.

        Raises what it raises, InvalidInput, NotAllowed.
        """
        given = [self._read(item.packet) for item in items]
        argument = given if self.spec.batch > 1 else given[0]
        if self._waits:
            answer = await within(self.spec.function(ctx, argument, commit), self.spec.seconds)
        else:
            answer = await self._in_thread(ctx, argument, commit)
        events = _events(self.spec.name, answer)
        if events:
            check(events)
            commit.events += events
        commit.close()
        refuse_reserved(commit.events)

    async def _in_thread(self, ctx: Context, argument: Any, commit: Commit) -> object:
        async with asyncio.timeout(self.spec.seconds):
            loop = asyncio.get_running_loop()
            answer = await loop.run_in_executor(self._threads, self.spec.function, ctx, argument, commit)
            return await answer if inspect.isawaitable(answer) else answer


def _events(name: str, answer: object) -> Sequence[Event]:
    if answer is None:
        return ()
    found = [answer] if isinstance(answer, Event) else answer
    if isinstance(found, list | tuple) and all(isinstance(each, Event) for each in found):
        return found
    raise InvalidInput(f"the handler {name} returned {type(answer).__name__}: give back events, or nothing")
