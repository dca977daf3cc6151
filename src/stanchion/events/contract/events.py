"""The contract of events: publish, take and settle, follow, and what operators do when handling fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Protocol

from ...core.context import Context
from ...core.contract import action
from .delivery import (
    ConsumerView,
    DeadLetter,
    Delivered,
    Delivery,
    Envelope,
    Hop,
    Outcome,
    Recalled,
    Receipt,
    Redriven,
    Selection,
    Settled,
)
from .event import Event
from .hooks import Hooks
from .schemas import Schemas


class Publishing(Protocol):
    """Events in, and events as they come."""

    @action("events:publish", effect="write", resource="Event", seconds=30)
    async def publish(
        self, ctx: Context, events: Sequence[Event], *, after: datetime | None = None
    ) -> Sequence[Receipt]:
        """One receipt for each event, in order, once all are durable: all of them or none.

        At most 1,000 at once. Events of one key are delivered in the order of their calls. The same source and id
        published again is handled no second time. With `after` they are kept until that moment. The caller is their
        author: whoever handles them acts with its rights. Raises InvalidInput, PayloadTooLarge, NotAllowed for the
        types in which the house tells of itself, InvalidInput with path and reason for data that do not fit the newest
        schema of their type, and Throttled with `retry_after` where a consumer is too far behind.
        """
        ...

    @action("events:follow", effect="read", resource="Event")
    def follow(
        self, ctx: Context, *, types: Sequence[str] = ("*",), since: str | None = None
    ) -> AsyncIterator[Delivered]:
        """Every event of the caller's tenant whose type a pattern names, as it comes; it ends when the caller leaves.

        Begins behind the position `since`; None: with what is published from now on. Nothing is remembered of a
        follower, who sees each event at least once and in the order of its key. Raises InvalidInput for a position
        that is none of this bus.
        """
        ...

    @action("events:follow", effect="read", resource="Event")
    async def position(self, ctx: Context, *, since: str | None = None) -> str:
        """The bus's present end, to be followed from later on; with `since` that position, if it is one.

        Raises InvalidInput for a position that is none of this bus.
        """
        ...


class Consuming(Protocol):
    """Events out: leased, handled, settled. For workers that are not handlers of `system.py`."""

    # What is leased and settled is the bus's own bookkeeping, a thousand times a second: it is authorised, bounded and
    # counted, but no change that the audit log should tell of, so its effect is `read`.
    @action("events:consume", effect="read", resource="Consumer", by="consumer", seconds=60)
    async def take(
        self, ctx: Context, consumer: str, *, types: Sequence[str] = ("*",), limit: int = 100, wait: float = 0.0
    ) -> Sequence[Delivery]:
        """At most `limit` (to 1,000) events of the caller's tenant for this consumer, after at most `wait` (to 30)
        seconds; empty where there are none.

        The first call makes the consumer, which begins with what is published from then on; `types` then bind it.
        Of one key at most one delivery is out at a time, in the order of publication. What is not settled while its
        lease holds is delivered again. Raises Conflict where the consumer is a handler of the system.
        """
        ...

    @action("events:consume", effect="read", resource="Consumer", by="consumer", seconds=60)
    async def settle(self, ctx: Context, consumer: str, outcomes: Sequence[Outcome]) -> Sequence[Settled]:
        """How each delivery ended, in order, once that is durable.

        One whose lease has passed on is `stale`: nothing was recorded for it and nothing of it published.
        A retry beyond the consumer's attempts is `dead`. Raises NotFound for an unknown consumer, InvalidInput.
        """
        ...

    @action("events:consume", effect="read", resource="Consumer", by="consumer", seconds=30)
    async def extend(
        self, ctx: Context, consumer: str, tokens: Sequence[str], *, seconds: float = 30.0
    ) -> Sequence[bool]:
        """Hold leases for `seconds` (to 3,600) from now; whether each was still the caller's. Raises NotFound."""
        ...


class Operating(Protocol):
    """What operators see and do."""

    @action("events:read", effect="read", resource="Consumer")
    async def consumers(self, ctx: Context) -> Sequence[ConsumerView]:
        """The system's handlers and the tenant's own consumers, by name; numbers are of the whole bus."""
        ...

    @action("events:operate", effect="write", resource="Consumer", by="consumer")
    async def pause(self, ctx: Context, consumer: str) -> None:
        """Give it nothing more until `resume`; what is in hand is finished. Raises NotFound."""
        ...

    @action("events:operate", effect="write", resource="Consumer", by="consumer")
    async def resume(self, ctx: Context, consumer: str) -> None:
        """Go on where it stopped. Raises NotFound."""
        ...

    @action("events:operate", effect="write", resource="Consumer", by="consumer", seconds=300)
    async def remove(self, ctx: Context, consumer: str) -> int:
        """Forget a consumer that nobody takes for any more; how many events went with it that waited or were dead.

        What it has handled stays noted: one of the same name begins with what is published from then on, and is given
        none of those again. A handler that the system declares no more can be removed by the system's own tenant.
        Raises NotFound, Conflict for a handler that it declares.
        """
        ...

    @action("events:read_dead", effect="read", resource="Consumer")
    async def dead(
        self, ctx: Context, *, consumer: str = "", selection: Selection | None = None, limit: int = 100
    ) -> Sequence[DeadLetter]:
        """The tenant's dead letters, the newest first, at most `limit` (to 1,000)."""
        ...

    @action("events:operate", effect="write", resource="Consumer", by="consumer", seconds=300)
    async def redrive(
        self, ctx: Context, consumer: str, selection: Selection, *, rate: float | None = None, limit: int = 10_000
    ) -> Redriven:
        """Give dead letters to their consumer again, with all attempts anew, at most `rate` a second.

        They keep their author and their order among each other, not their place among other events.
        """
        ...

    @action("events:operate", effect="write", resource="Consumer", by="consumer")
    async def discard(self, ctx: Context, consumer: str, ids: Sequence[str]) -> int:
        """Remove dead letters for good; how many there were."""
        ...

    @action("events:operate", effect="write", resource="Consumer", by="consumer", seconds=300)
    async def replay(
        self, ctx: Context, consumer: str, selection: Selection, *, rate: float | None = None, limit: int = 10_000
    ) -> Redriven:
        """Give the consumer events of the tenant that the bus still holds once more, though it has handled them.

        At most `limit` (to 100,000), from `selection.since` on, at most `rate` a second. Raises NotFound, InvalidInput.
        """
        ...

    @action("events:read", effect="read", resource="Event")
    async def tree(self, ctx: Context, correlation: str) -> Sequence[Hop]:
        """All that came of one first event, each with its cause and what its consumers made of it, causes first.

        `correlation` is the correlation id, which is the id of the first event unless that brought another one.
        A single event that led to no other has a tree of its own if its trace is sampled, or an attempt at it failed.
        Raises NotFound where nothing is known of it.
        """
        ...


class Recalling(Protocol):
    """What was published, as long as the bus holds it."""

    @action("events:read", effect="read", resource="Event")
    async def recent(
        self, ctx: Context, *, selection: Selection | None = None, place: str = "", limit: int = 50
    ) -> Sequence[Envelope]:
        """The newest events of the tenant that fit, at most `limit` (to 200), the newest first, without their data.

        Looks at the newest 20,000 or so and no further; with `since`, no further back than that. With `place` that one
        event alone, none where it was removed. Raises InvalidInput.
        """
        ...

    @action("events:follow", effect="read", resource="Event")
    async def recall(self, ctx: Context, place: str) -> Recalled:
        """The event at a place that `recent` told, with its data. Raises NotFound, also where it was removed since."""
        ...


class Events(Publishing, Consuming, Operating, Recalling, Schemas, Hooks, Protocol):
    """A bus that loses nothing and keeps the order of each key.

    Delivery is at least once. A handler's writes through the house's database, its follow-up events and the note that
    the event is handled commit together: their effect is once, however often the event is delivered or published.
    """
