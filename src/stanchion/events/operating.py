"""What operators see and do: consumers, dead letters, replays, trees of causes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

import msgspec
from sqlalchemy import Connection

from ..core.clock import Clock, micros, moment
from ..core.context import Context, new_request_id
from ..core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from ..core.storage import Database
from .backlog import Backlog
from .contract import ConsumerView, DeadLetter, Failure, Hop, Redriven, Selection, check_patterns, matches
from .keeping import chains, graveyard, registry
from .keeping.graveyard import Again, Dead
from .keeping.slots import HOUSE, Consumer
from .packing import Packet, Seal, unpack
from .ports import LANES, Bus, Stored
from .workers.feed import Feed
from .workers.retrying import history_of

MOST_LISTED = 1_000
MOST_AGAIN = 100_000


class Operator:
    """`feeds` are those of this process, by consumer; `limits` tells how many calls of one may run at once here."""

    def __init__(
        self,
        database: Database,
        bus: Bus,
        *,
        seal: Seal,
        clock: Clock,
        backlog: Backlog,
        feeds: Mapping[Consumer, Feed],
        limits: Callable[[Consumer], int],
    ) -> None:
        self._database = database
        self._bus = bus
        self._seal = seal
        self._clock = clock
        self._backlog = backlog
        self._feeds = feeds
        self._limits = limits

    async def consumers(self, ctx: Context) -> Sequence[ConsumerView]:
        """As `Events.consumers` has it."""
        found = []
        for each in await self._backlog.all():
            consumer = each.consumer
            if consumer.tenant not in (HOUSE, ctx.tenant):
                continue
            feed = self._feeds.get(consumer)
            dead = await self._database.read(
                partial(graveyard.number, tenant=ctx.tenant, consumer=consumer.name)
            )  # fmt: skip
            view = ConsumerView(
                name=consumer.name,
                types=each.types,
                declared=consumer.tenant == HOUSE,
                paused=each.paused,
                behind=each.behind,
                waiting=each.waiting,
                dead=dead,
                running=feed.running if feed else 0,
                concurrency=self._limits(consumer),
                holders=feed.holders if feed else 0,
            )
            found.append(view)
        return found

    async def set_paused(self, ctx: Context, name: str, paused: bool) -> None:
        """Pause or resume. Raises NotFound."""
        consumer = await self.consumer(ctx, name)
        await self._database.write(ctx, lambda c: registry.set_paused(c, consumer, paused))
        if consumer in self._feeds:
            self._feeds[consumer].paused = paused
            self._feeds[consumer].stir()

    async def remove(self, ctx: Context, name: str, *, declared: Collection[str], owner: str) -> int:
        """As `Events.remove` has it, for a system that declares these handlers and is this tenant's."""
        consumer = await self.consumer(ctx, name)
        if consumer.tenant == HOUSE and name in declared:
            raise Conflict(
                f"{name} is a handler of the system", next_step="Take it out of system.py, or pause it instead."
            )
        if consumer.tenant == HOUSE and ctx.tenant != owner:
            raise NotAllowed(f"{name} was a handler of the system, and is its owner's to remove")
        went = await self._database.write(ctx, lambda c: registry.remove(c, consumer))
        if went is None:
            raise NotFound(f"there is no consumer {name!r}")
        return went

    async def consumer(self, ctx: Context, name: str) -> Consumer:
        """The system's handler or the tenant's consumer of that name. Raises NotFound."""
        known = await self._database.read(registry.all_known)
        for tenant in (HOUSE, ctx.tenant):
            if Consumer(tenant, name) in known:
                return Consumer(tenant, name)
        raise NotFound(f"there is no consumer {name!r}")

    async def dead(self, ctx: Context, consumer: str, selection: Selection, limit: int) -> Sequence[DeadLetter]:
        """As `Events.dead` has it."""
        if not 1 <= limit <= MOST_LISTED:
            raise InvalidInput(f"`limit` must be 1 to {MOST_LISTED}")
        rows = await self._database.read(
            lambda c: graveyard.found(c, ctx.tenant, consumer, selection, limit=limit)
        )  # fmt: skip
        return [self._letter(row) for row in rows]

    async def redrive(self, ctx: Context, name: str, selection: Selection, rate: float | None, limit: int) -> Redriven:
        """As `Events.redrive` has it."""
        consumer = await self.consumer(ctx, name)
        _bounded(rate, limit)
        due, run = self._paced(rate), new_request_id()

        def work(connection: Connection) -> Redriven:
            rows = graveyard.found(connection, ctx.tenant, name, selection, limit=limit + 1, newest=False)
            again = [
                Again(f"R{run}.{number}", row.lane, number, row.body, row.history)
                for number, row in enumerate(rows[:limit])
            ]
            graveyard.give_again(connection, ctx.tenant, name, again, due=due)
            for start in range(0, len(again), 500):
                graveyard.discard(connection, ctx.tenant, name, [row.id for row in rows[:limit][start : start + 500]])
            return Redriven(len(again), len(rows) > limit)

        answer = await self._database.write(ctx, work)
        self._stir(consumer)
        return answer

    async def discard(self, ctx: Context, name: str, ids: Sequence[str]) -> int:
        """As `Events.discard` has it."""
        if len(ids) > MOST_LISTED:
            raise InvalidInput(f"at most {MOST_LISTED} dead letters can be discarded at once")
        return await self._database.write(ctx, lambda c: graveyard.discard(c, ctx.tenant, name, ids))

    async def replay(self, ctx: Context, name: str, selection: Selection, rate: float | None, limit: int) -> Redriven:
        """As `Events.replay` has it."""
        consumer = await self.consumer(ctx, name)
        _bounded(rate, limit)
        if selection.ids:
            raise InvalidInput("a replay is chosen by type, source, subject and time; ids are of dead letters")
        if selection.types:
            check_patterns(selection.types)
        run = new_request_id()
        again, more = await self._held(ctx, selection, limit, run)
        due = self._paced(rate)
        await self._database.write(
            ctx, lambda c: graveyard.give_again(c, ctx.tenant, name, again, due=due)
        )  # fmt: skip
        self._stir(consumer)
        return Redriven(len(again), more)

    async def tree(self, ctx: Context, correlation: str) -> Sequence[Hop]:
        """As `Events.tree` has it."""
        notes = await self._database.read(lambda c: chains.rows_of(c, ctx.tenant, correlation))
        if not notes:
            raise NotFound("nothing is known of this chain of events")
        return chains.tree(notes)

    async def _held(self, ctx: Context, selection: Selection, limit: int, run: str) -> tuple[list[Again], bool]:
        """The events of the tenant that the bus still has and that fit, in their order."""
        since = selection.since
        after = dict(await self._bus.before(since)) if since is not None else dict.fromkeys(range(LANES), 0)
        heads = await self._bus.heads()
        types = selection.types or ("*",)
        found: list[Again] = []
        while any(after[lane] < head for lane, head in heads.items()):
            page = await self._bus.read(after, limit=1_000, tenant=ctx.tenant, types=types)
            for stored in page.entries:
                if stored.position <= heads[stored.lane] and self._fits(ctx, selection, types, stored):
                    if len(found) == limit:
                        return found, True
                    place = f"R{run}.{stored.lane}.{stored.position}"
                    found.append(Again(place, stored.lane, stored.position, stored.body))
            moved = any(position > after[lane] for lane, position in page.reached.items())
            after.update(page.reached)
            if not page.entries and not moved:
                break
        return found, False

    def _fits(self, ctx: Context, selection: Selection, types: Sequence[str], stored: Stored) -> bool:
        packet = unpack(stored.body, self._seal)
        return (
            packet.tenant == ctx.tenant
            and matches(types, packet.type)
            and selection.source in ("", packet.source)
            and selection.subject in ("", packet.subject)
            and (selection.since is None or packet.published >= micros(selection.since))
            and (selection.until is None or packet.published < micros(selection.until))
        )

    def _letter(self, row: Dead) -> DeadLetter:
        packet = msgspec.msgpack.decode(self._seal.open(row.body), type=Packet)
        history = history_of(row.history)
        return DeadLetter(
            id=row.id,
            consumer=row.consumer,
            event=packet.event,
            principal=packet.author.principal,
            attempts=row.attempts,
            error=history[-1][1] if history else "",
            at=moment(row.at),
            history=tuple(Failure(moment(at), error) for at, error in history),
        )

    def _paced(self, rate: float | None) -> Callable[[int], int]:
        now = micros(self._clock.now())
        # Their due times also keep the order of those without a rate.
        return lambda number: now + (number if rate is None else int(number / rate * 1e6))

    def _stir(self, consumer: Consumer) -> None:
        if consumer in self._feeds:
            self._feeds[consumer].stir()


def _bounded(rate: float | None, limit: int) -> None:
    if not 1 <= limit <= MOST_AGAIN or (rate is not None and not rate > 0):
        raise InvalidInput(f"`limit` must be 1 to {MOST_AGAIN} and `rate` above 0 events a second")
