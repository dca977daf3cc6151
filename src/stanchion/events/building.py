"""Puts the parts of the bus together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from ..core.clock import Clock
from ..core.module import Parts
from ..core.storage import Database
from .backends.sql import SqlBus
from .backlog import Backlog
from .checking import SchemaCheck
from .contract import HandlerSpec
from .following import Follower, Places
from .housekeeping import Housekeeping
from .keeping.slots import Consumer, Slot
from .operating import Operator
from .outbox import Relay
from .outside import opened
from .packing import KeyedSeal, NoSeal, Seal
from .ports import Bus
from .publishing import Appends, Publisher
from .recalling import Recaller
from .schemas.service import SchemaService
from .service import EventService
from .settings import EventsSettings
from .workers.committer import Committer
from .workers.desk import Desk
from .workers.feed import Feed
from .workers.leases import Leases
from .workers.post import Post


async def build(parts: Parts, settings: EventsSettings) -> EventService:
    """The service over the bus that the settings name."""
    bus = _bus(parts, settings)
    return assemble(parts, settings, bus)


def assemble(parts: Parts, settings: EventsSettings, bus: Bus) -> EventService:
    """The service over this bus."""
    database, clock = parts.database, parts.clock
    seal = NoSeal() if bus.trusted else KeyedSeal(parts.signer)
    feeds: dict[Consumer, Feed] = {}
    leases = Leases(database, clock, seconds=settings.lease_seconds)
    way = _way(database, bus, seal, leases, clock)

    def saves() -> Sequence[tuple[Consumer, Sequence[Slot]]]:
        return [(feed.consumer, feed.snapshots()) for feed in feeds.values()]

    committer = Committer(database, saves=saves, staged=way.staged)
    checks = SchemaCheck(SchemaService(database, clock), clock).check if settings.schemas == "refuse" else None
    desk = Desk(bus, database, seal, clock, committer, parts.tenant, parts.spans, checks)
    places = Places(single=bus.single)
    backlog = Backlog(database, bus, lambda: list(feeds.values()), most=settings.backlog)
    housekeeping = Housekeeping(
        database, bus, clock,
        keep=timedelta(days=settings.keep_days),
        remember=None if settings.handled_days is None else timedelta(days=settings.handled_days),
        released=way.staged, each_second=backlog.measure,
    )  # fmt: skip
    service: EventService
    operator = Operator(
        database, bus, seal=seal, clock=clock, backlog=backlog, feeds=feeds,
        limits=lambda consumer: service.limit_of(consumer),
    )  # fmt: skip
    handled = parts.metrics.counter(
        "stanchion_events_handled_total", "Events by what became of them", ("consumer", "result")
    )
    publisher = Publisher(
        way.append, database=database, seal=seal, clock=clock, backlog=backlog,
        placed=places.of, delayed=housekeeping.delayed, checks=checks,
    )  # fmt: skip
    service = EventService(
        desk,
        publisher,
        Follower(bus, seal, places),
        operator,
        feeds=feeds,
        handlers=[item for item in parts.declared if isinstance(item, HandlerSpec)],
        work=settings.workers,
        committer=committer,
        leases=leases,
        housekeeping=housekeeping,
        relay=way.relay,
        delivery_seconds=settings.delivery_seconds,
        counted=lambda consumer, result, number: handled.inc(consumer, result, by=number),
    )
    service.recaller = Recaller(bus, seal, clock)
    service.outside = opened(parts, settings, service)
    return service


@dataclass(frozen=True, slots=True)
class _Way:
    """How events get into the bus: published, and from the log into which changes stage them."""

    append: Appends
    staged: Callable[[], None]
    relay: Relay | None = None


def _way(database: Database, bus: Bus, seal: Seal, leases: Leases, clock: Clock) -> _Way:
    if isinstance(bus, SqlBus):
        # The log is the bus, and the audit log tells of a call in its own transaction.
        return _Way(bus.append_as, bus.look)
    post = Post("relay", clock)
    leases.add(post)
    relay = Relay(database, bus, seal, mine=lambda: post.mine)
    return _Way(lambda ctx, entries: bus.append(entries), relay.staged, relay)


def _bus(parts: Parts, settings: EventsSettings) -> Bus:
    if settings.bus == "memory":
        from .backends.memory import MemoryBus

        return MemoryBus(parts.clock)
    if settings.bus == "database":
        return SqlBus(parts.database, parts.clock)
    from .backends.brokers import open_broker

    return open_broker(settings.bus, settings.url)
