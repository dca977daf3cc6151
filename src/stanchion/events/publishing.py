"""Takes events in: checked, with their author, into the bus or kept until their moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from ..core.clock import Clock, micros
from ..core.context import Context
from ..core.errors import InvalidInput, PayloadTooLarge
from ..core.storage import Database
from .backlog import Backlog
from .causes import cause_of
from .checking import refuse_reserved
from .contract import Event, Receipt, check
from .keeping import delays
from .packing import NoSeal, Seal, entry_of, packed_who
from .ports import Entry

MOST = 1_000

Appends = Callable[[Context, Sequence[Entry]], Awaitable[Sequence[int]]]
Places = Callable[[int, int], str]
Checks = Callable[[Context, Sequence[Event]], Awaitable[None]]


class Publisher:
    """`append` stores entries in the bus; `placed` tells where an entry of a lane and position is, for followers.

    `checks` holds data against the schemas of their types, None: nothing does.
    """

    def __init__(
        self,
        append: Appends,
        *,
        database: Database,
        seal: Seal,
        clock: Clock,
        backlog: Backlog,
        placed: Places,
        delayed: Callable[[], None],
        checks: Checks | None = None,
    ) -> None:
        self._checks = checks
        self._append = append
        self._database = database
        self._seal = seal
        self._clock = clock
        self._backlog = backlog
        self._placed = placed
        self._delayed = delayed

    async def publish(self, ctx: Context, events: Sequence[Event], after: datetime | None) -> Sequence[Receipt]:
        """As `Events.publish` has it."""
        if not events:
            return ()
        if len(events) > MOST:
            raise PayloadTooLarge(f"{len(events)} events at once; at most {MOST} are taken")
        check(events)
        refuse_reserved(events)
        if after is not None and after.tzinfo is None:
            raise InvalidInput("`after` has no time zone")
        if self._checks is not None:
            await self._checks(ctx, events)
        self._backlog.admit(ctx.tenant, {event.type for event in events}, len(events))
        if ctx.effect is not None:
            ctx.effect.note(events=len(events), type=events[0].type)
        at = micros(self._clock.now())
        who, cause = packed_who(ctx), cause_of(ctx)
        later = after is not None and micros(after) > at
        seal = NoSeal() if later else self._seal
        entries = [entry_of(event, ctx, who, at=at, seal=seal, cause=cause) for event in events]
        if later and after is not None:
            due = micros(after)
            await self._database.write(
                ctx, lambda c: delays.keep(c, entries, at=at, call=ctx.request_id, due=due)
            )  # fmt: skip
            self._delayed()
            return [Receipt(event.source, event.id, "scheduled") for event in events]
        positions = await self._append(ctx, entries)
        return [
            Receipt(event.source, event.id, "stored", self._placed(entry.lane, position))
            for event, entry, position in zip(events, entries, positions, strict=True)
        ]
