"""The rules of events: who may publish what, who is given it, and what becomes of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime

from sqlalchemy import Connection

from ..core.context import Context, system_context
from ..core.errors import Conflict, InvalidInput, NotFound, StanchionError, Unavailable
from ..core.tasks import end_tasks
from .contract import (
    ConsumerView,
    DeadLetter,
    Delivered,
    Delivery,
    Event,
    Events,
    HandlerSpec,
    Hop,
    Outcome,
    Receipt,
    Redriven,
    Selection,
    Settled,
    check_consumer,
    check_patterns,
)
from .following import Follower
from .housekeeping import Housekeeping
from .keeping import registry
from .keeping.slots import HOUSE, Consumer, register
from .operating import Operator
from .outbox import Relay
from .outside import Reaching
from .publishing import Publisher
from .pulling import Pull
from .workers.committer import Committer
from .workers.desk import Desk
from .workers.feed import Feed
from .workers.leases import Leases
from .workers.retrying import Rules
from .workers.runner import Counts, Runner

MOST_PULLS = 200
SWEEP_SECONDS = 0.5
PATIENCE_SECONDS = 10.0
ARRIVAL_SECONDS = 1.0
_log = logging.getLogger(__name__)


class EventService(Reaching, Events):
    """One process's part of the bus. `handlers` are the declared ones; with `work` they run here."""

    def __init__(
        self,
        desk: Desk,
        publisher: Publisher,
        follower: Follower,
        operator: Operator,
        *,
        feeds: dict[Consumer, Feed],
        handlers: Sequence[HandlerSpec],
        work: bool,
        committer: Committer,
        leases: Leases,
        housekeeping: Housekeeping,
        relay: Relay | None,
        delivery_seconds: float,
        counted: Counts,
    ) -> None:
        self._desk = desk
        self._publisher = publisher
        self._follower = follower
        self._operator = operator
        self._feeds = feeds
        self._handlers = handlers
        self._work = work
        self._committer = committer
        self._leases = leases
        self._housekeeping = housekeeping
        self._relay = relay
        self._delivery_seconds = delivery_seconds
        self._counted = counted
        self._runners: dict[Consumer, Runner] = {}
        self._pulls: dict[Consumer, Pull] = {}
        self._opening = asyncio.Lock()
        self._sweeper: asyncio.Task[None] | None = None
        self._arrival: asyncio.Task[None] | None = None
        self._connected = False
        self._arrived = False
        self._threads = ThreadPoolExecutor(32, thread_name_prefix="stanchion-handler")

    # --- publish and follow

    async def publish(
        self, ctx: Context, events: Sequence[Event], *, after: datetime | None = None
    ) -> Sequence[Receipt]:
        if not self._arrived:
            # Before the declared consumers are known, nobody would be given it.
            raise Unavailable("the bus of events has not answered yet", retry_after=ARRIVAL_SECONDS)
        return await self._publisher.publish(ctx, events, after)

    def follow(
        self, ctx: Context, *, types: Sequence[str] = ("*",), since: str | None = None
    ) -> AsyncIterator[Delivered]:
        return self._follower.follow(ctx, types, since)

    async def position(self, ctx: Context, *, since: str | None = None) -> str:
        return await self._follower.position(since)

    # --- consume

    async def take(
        self, ctx: Context, consumer: str, *, types: Sequence[str] = ("*",), limit: int = 100, wait: float = 0.0
    ) -> Sequence[Delivery]:
        pull = await self._pull(ctx, consumer, tuple(types))
        return await pull.take(limit, wait)

    async def settle(self, ctx: Context, consumer: str, outcomes: Sequence[Outcome]) -> Sequence[Settled]:
        return await (await self._known(ctx, consumer)).settle(ctx, outcomes)

    async def extend(
        self, ctx: Context, consumer: str, tokens: Sequence[str], *, seconds: float = 30.0
    ) -> Sequence[bool]:
        if not 0 < seconds <= 3_600:
            raise InvalidInput("`seconds` must be above 0 and at most 3600")
        return (await self._known(ctx, consumer)).extend(tokens, seconds)

    # --- operate

    async def consumers(self, ctx: Context) -> Sequence[ConsumerView]:
        return await self._operator.consumers(ctx)

    async def pause(self, ctx: Context, consumer: str) -> None:
        await self._operator.set_paused(ctx, consumer, True)

    async def resume(self, ctx: Context, consumer: str) -> None:
        await self._operator.set_paused(ctx, consumer, False)

    async def remove(self, ctx: Context, consumer: str) -> int:
        declared = {spec.name for spec in self._handlers}
        went = await self._operator.remove(ctx, consumer, declared=declared, owner=self._desk.tenant)
        for whose in (Consumer(ctx.tenant, consumer), Consumer(HOUSE, consumer)):
            await self._forget(whose)
        return went

    async def dead(
        self, ctx: Context, *, consumer: str = "", selection: Selection | None = None, limit: int = 100
    ) -> Sequence[DeadLetter]:
        return await self._operator.dead(ctx, consumer, selection or Selection(), limit)

    async def redrive(
        self, ctx: Context, consumer: str, selection: Selection, *, rate: float | None = None, limit: int = 10_000
    ) -> Redriven:
        return await self._operator.redrive(ctx, consumer, selection, rate, limit)

    async def discard(self, ctx: Context, consumer: str, ids: Sequence[str]) -> int:
        return await self._operator.discard(ctx, consumer, ids)

    async def replay(
        self, ctx: Context, consumer: str, selection: Selection, *, rate: float | None = None, limit: int = 10_000
    ) -> Redriven:
        return await self._operator.replay(ctx, consumer, selection, rate, limit)

    async def tree(self, ctx: Context, correlation: str) -> Sequence[Hop]:
        return await self._operator.tree(ctx, correlation)

    # --- the process

    async def start(self) -> None:
        """Make the declared consumers known, then work for them.

        A broker that is away holds nothing up: the calls that need it raise Unavailable until it is back, and what
        changes stage meanwhile is handed on then. Raises Misconfigured for one that may not be used.
        """
        await self.outside.prepare()
        await self._committer.start()
        await self._housekeeping.start()
        await self._leases.start()
        try:
            await self._bus_up()
        except Unavailable as error:
            _log.warning("the bus of events does not answer, it is tried again until it does: %s", error.detail)
            self._arrival = asyncio.create_task(self._arrive(), name="events-arrival")
        self._sweeper = asyncio.create_task(self._sweep(), name="events-sweep")
        await self.outside.start()

    async def _arrive(self) -> None:
        """Begin as soon as the bus answers."""
        while True:
            await asyncio.sleep(ARRIVAL_SECONDS)
            try:
                await self._bus_up()
            except Unavailable:
                continue  # it was said once that it is away
            except StanchionError as error:
                _log.error("the bus of events cannot be used, it is tried again: %s", error.detail)
                continue
            _log.warning("the bus of events answers")
            return

    async def _bus_up(self) -> None:
        """Connect, then make the declared consumers known before anybody here can publish. May be called again."""
        if not self._connected:
            await self._desk.bus.start()
            self._connected = True
        if self._handlers:
            await self._register([(Consumer(HOUSE, spec.name), spec.types) for spec in self._handlers])
        for spec in self._handlers if self._work else ():
            consumer = Consumer(HOUSE, spec.name)
            if consumer not in self._feeds:
                feed = Feed(consumer, spec.types, self._desk, rules=Rules.of(spec))
                self._runners[consumer] = Runner(spec, feed, self._threads, counted=self._counted)
                await self._open(feed)
        await self._leases.beat()
        if self._relay is not None:
            await self._relay.start()
        self._arrived = True

    async def stop(self) -> None:
        """Finish what is in hand, keep how far everything is, and leave the rest to others."""
        await self.outside.stop()
        await end_tasks(self._sweeper, self._arrival)
        for feed in self._feeds.values():
            await feed.stop()
        await asyncio.gather(*(runner.stop(patience=PATIENCE_SECONDS) for runner in self._runners.values()))
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._committer.drained()
        except TimeoutError:
            pass  # the database does not answer; what is not noted as handled is handled again
        await self._committer.stop()
        await self._leases.stop()
        if self._relay is not None:
            await self._relay.stop()
        await self._housekeeping.stop()
        await self._desk.bus.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def limit_of(self, consumer: Consumer) -> int:
        """How many calls of a consumer may run at once here."""
        runner = self._runners.get(consumer)
        return runner.limit if runner is not None else 0

    async def _register(self, consumers: Sequence[tuple[Consumer, tuple[str, ...]]]) -> None:
        heads = await self._desk.bus.heads()
        ctx = system_context("*", task="events")

        def work(connection: Connection) -> None:
            known = registry.all_known(connection)
            # In one order: two processes that make the same slots at once wait for each other.
            for consumer, types in sorted(consumers, key=lambda each: (each[0].tenant, each[0].name)):
                register(connection, consumer, heads)
                if consumer not in known or known[consumer].types != types:
                    registry.keep(connection, consumer, types)

        await self._desk.database.write(ctx, work)

    async def _open(self, feed: Feed) -> None:
        known = await self._desk.database.read(registry.all_known)
        feed.paused = known[feed.consumer].paused
        self._feeds[feed.consumer] = feed
        self._leases.add(feed)
        await feed.start()

    async def _pull(self, ctx: Context, name: str, types: tuple[str, ...]) -> Pull:
        consumer = Consumer(ctx.tenant, name)
        async with self._opening:
            pull = self._pulls.get(consumer)
            if pull is not None:
                return pull
            check_consumer(name)
            check_patterns(types)
            known = await self._desk.database.read(registry.all_known)
            if Consumer(HOUSE, name) in known:
                raise Conflict(f"{name} is a handler of the system", next_step="Take events under another name.")
            if len(self._pulls) >= MOST_PULLS:
                raise Conflict(f"{MOST_PULLS} consumers take events here already")
            if consumer not in known:
                await self._register([(consumer, types)])
            else:
                types = known[consumer].types
            feed = Feed(consumer, types, self._desk, rules=Rules())
            pull = self._pulls[consumer] = Pull(
                feed, self._desk.clock, seconds=self._delivery_seconds, counted=self._counted
            )
            await self._open(feed)
        await self._leases.beat()
        return pull

    async def _known(self, ctx: Context, name: str) -> Pull:
        pull = self._pulls.get(Consumer(ctx.tenant, name))
        if pull is not None:
            return pull
        known = await self._desk.database.read(registry.all_known)
        if Consumer(ctx.tenant, name) not in known:
            raise NotFound(f"there is no consumer {name!r}")
        return await self._pull(ctx, name, ("*",))

    async def _sweep(self) -> None:
        """Take back deliveries that were not settled; take in what other processes changed."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            for pull in self._pulls.values():
                pull.sweep()
            if not self._feeds:
                continue
            with suppress(StanchionError):
                async with self._opening:
                    known = await self._desk.database.read(registry.all_known)
                    for consumer, feed in list(self._feeds.items()):
                        if consumer not in known:
                            await self._forget(consumer)
                        elif known[consumer].paused != feed.paused:
                            feed.paused = known[consumer].paused
                            feed.stir()

    async def _forget(self, consumer: Consumer) -> None:
        """It was removed: nothing is taken or read for it here any more."""
        self._pulls.pop(consumer, None)
        feed = self._feeds.pop(consumer, None)
        if feed is not None:
            self._leases.leave(feed)
            await feed.stop()
            feed.drop(list(feed.slots))
