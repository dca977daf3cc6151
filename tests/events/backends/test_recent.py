"""Over a broker, too, the newest events come first, and each is found again at its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from stanchion.core.errors import NotFound
from stanchion.events import LANES, Entry, Event, Selection
from stanchion.events.backends.brokers import open_broker
from stanchion.testing.events import caller, running, sqlite_url

from .servers import Server


@pytest.mark.parametrize("kind", ["nats", "redis", "kafka"])
async def test_events_of_many_lanes_are_listed_in_the_order_of_time(kind: str, broker: Server, tmp_path: Path) -> None:
    me = caller()
    async with running(sqlite_url(tmp_path), bus=kind, url=broker.url) as bus:
        assert await bus.recent(me) == []
        await bus.publish(me, [Event(type="rare", source="/shop", subject="rare")])
        for number in range(60):
            await bus.publish(me, [Event.of("order.placed", "/shop", number, subject=f"order-{number}")])
        await bus.publish(caller("other", "eve"), [Event(type="order.placed", source="/shop")])
        found = await bus.recent(me, limit=20)
        assert [each.subject for each in found] == [f"order-{number}" for number in range(59, 39, -1)]
        assert len(await bus.recent(me, limit=100)) == 61
        [rare] = await bus.recent(me, selection=Selection(types=("rare",)))
        assert (await bus.recall(me, rare.place)).event.subject == "rare"
        for nowhere in ("0.1", f"3.{2**63 - 1}", f"47.{2**40}"):
            with pytest.raises(NotFound):
                await bus.recall(me, nowhere)
        newest = await bus.recall(me, found[0].place)
        assert (newest.envelope, newest.event.json()) == (found[0], 59)


@pytest.mark.parametrize("kind", ["nats", "redis", "kafka"])
async def test_who_reads_without_waiting_comes_to_the_end(kind: str, broker: Server) -> None:
    bus = open_broker(kind, broker.url)
    await bus.start()
    for _ in range(400):
        # Of each of its four partitions the mock cluster keeps the last 5 MB.
        await bus.append([Entry(lane, "t", "x", bytes(900)) for lane in range(LANES)])
    for _ in range(3):
        after, found = dict.fromkeys(range(LANES), 0), 0
        while (page := await bus.read(after, limit=500)).entries or page.reached != after:
            after, found = dict(page.reached), found + len(page.entries)
        assert found == 400 * LANES
    await bus.stop()
