"""A broker is killed, started again and frozen while events go through it: none is lost, none changes its place."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from stanchion.core.errors import Misconfigured, Unavailable
from stanchion.events import Bus, Entry
from stanchion.events.backends.brokers import open_broker

LANES = (1, 17, 33, 40)
WRITERS, KILLS, SOAK_KILLS = 3, 3, 40
PATIENCE = 120.0


@dataclass
class Queue:
    """What was tried, acknowledged and read. Bodies are `writer:number`."""

    bus: Bus
    tried: set[tuple[int, bytes]] = field(default_factory=set)
    acknowledged: set[tuple[int, bytes]] = field(default_factory=set)
    read: dict[int, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    refused: int = 0
    ends: bool = False
    writing: int = 0

    async def write(self, writer: int) -> None:
        """Append numbered entries in calls of several lanes, each call again until it is acknowledged."""
        chance, number = random.Random(writer), 0
        self.writing += 1
        while not self.ends:
            lanes = [chance.choice(LANES) for _ in range(chance.randint(1, 20))]
            entries = [Entry(lane, "t", "x", b"%d:%d" % (writer, number + i)) for i, lane in enumerate(lanes)]
            number += len(lanes)
            self.tried |= {(each.lane, each.body) for each in entries}
            await self._until_taken(entries)
            self.acknowledged |= {(each.lane, each.body) for each in entries}
            await asyncio.sleep(0.002)
        self.writing -= 1

    async def follow(self) -> None:
        """Read all lanes until everything that was acknowledged has come."""
        after = dict.fromkeys(LANES, 0)
        seen: set[tuple[int, bytes]] = set()
        while not (self.ends and not self.writing and self.acknowledged <= seen):
            try:
                page = await self.bus.read(after, limit=50, wait=0.2)
            except Unavailable:
                await asyncio.sleep(0.05)
                continue
            after.update(page.reached)
            for each in page.entries:
                self.read[each.lane].append(each.body)
                seen.add((each.lane, each.body))

    async def _until_taken(self, entries: list[Entry]) -> None:
        while True:
            try:
                await self.bus.append(entries)
                return
            except Unavailable:
                self.refused += 1
                await asyncio.sleep(0.05)

    def judge(self) -> None:
        """Nothing lost, nothing invented, and by their first coming the entries of a writer in order, in each lane."""
        read = {(lane, body) for lane, bodies in self.read.items() for body in bodies}
        assert self.acknowledged <= read <= self.tried
        for bodies in self.read.values():
            by_writer: dict[bytes, list[int]] = defaultdict(list)
            for body in dict.fromkeys(bodies):
                writer, number = body.split(b":")
                by_writer[writer].append(int(number))
            assert all(numbers == sorted(numbers) for numbers in by_writer.values())


async def opened(kind: str, url: str) -> Bus:
    bus = open_broker(kind, url)
    await bus.start()
    return bus


async def disturbed(queue: Queue, disturb: Callable[[], None], times: int) -> None:
    """Run writers and a reader, and disturb the broker between stretches in which some calls are acknowledged."""
    async with asyncio.timeout(PATIENCE * max(1, times / 3)), asyncio.TaskGroup() as group:
        for writer in range(WRITERS):
            group.create_task(queue.write(writer))
        group.create_task(queue.follow())
        for _ in range(times):
            known = len(queue.acknowledged)
            while len(queue.acknowledged) < known + 300:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(disturb)
        known = len(queue.acknowledged)
        while len(queue.acknowledged) < known + 100:
            await asyncio.sleep(0.01)
        queue.ends = True


async def killed(kind: str, broker, times: int) -> Queue:
    def disturb() -> None:
        broker.kill()
        broker.start()

    queue = Queue(await opened(kind, broker.url))
    await disturbed(queue, disturb, times)
    await queue.bus.stop()
    queue.judge()
    return queue


async def test_a_broker_that_is_killed_and_started_again_loses_nothing_and_keeps_each_order(kind: str, broker) -> None:
    queue = await killed(kind, broker, KILLS)
    assert queue.refused > 0, "the kills met no call: this test would not have noticed a loss"


@pytest.mark.soak
async def test_a_broker_that_is_killed_forty_times_loses_nothing(kind: str, broker) -> None:
    queue = await killed(kind, broker, SOAK_KILLS)
    print(f"{kind}: {len(queue.acknowledged)} acknowledged, {queue.refused} calls refused, 0 lost, order kept")


async def test_a_broker_that_stands_still_for_a_while_loses_nothing(kind: str, broker) -> None:
    def disturb() -> None:
        import time

        broker.freeze()
        time.sleep(1.0)  # what is tested is that so long nothing answers
        broker.thaw()

    queue = Queue(await opened(kind, broker.url))
    await disturbed(queue, disturb, 2)
    await queue.bus.stop()
    queue.judge()


async def test_a_bus_whose_broker_is_away_says_so_and_works_when_it_is_back(kind: str, broker) -> None:
    bus = await opened(kind, broker.url)
    await bus.append([Entry(1, "t", "x", b"before")])
    broker.kill()
    with pytest.raises(Unavailable):
        while True:
            await bus.append([Entry(1, "t", "x", b"meanwhile")])
    with pytest.raises(Unavailable):
        await bus.heads()
    broker.start()
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                (last,) = await bus.append([Entry(1, "t", "x", b"after")])
                break
            except Unavailable:
                await asyncio.sleep(0.05)
        after, bodies = {1: 0}, []
        while after[1] < last:
            page = await bus.read(after, limit=10, wait=1.0)
            after.update(page.reached)
            bodies += [each.body for each in page.entries]
    await bus.stop()
    assert bodies[0] == b"before" and bodies[-1] == b"after"


async def test_no_broker_at_all_is_told_at_the_start(kind: str, broker) -> None:
    broker.kill()
    with pytest.raises(Unavailable):
        await opened(kind, broker.url)
    broker.start()


@pytest.mark.parametrize("kind", ["nats"])
async def test_a_stream_that_would_drop_events_is_refused(kind: str, broker) -> None:
    import nats
    from nats.js.api import StreamConfig

    client = await nats.connect(broker.url)
    await client.jetstream().add_stream(StreamConfig(name="short", subjects=["short.>"], max_msgs=1000))
    await client.close()
    with pytest.raises(Misconfigured, match="max_msgs"):
        await opened(kind, f"{broker.url}?name=short")


@pytest.mark.parametrize("kind", ["redis"])
async def test_a_redis_that_would_forget_is_refused_unless_that_is_accepted(kind: str, broker) -> None:
    from redis.asyncio import Redis

    async with Redis.from_url(broker.url) as server:
        await server.config_set("appendfsync", "everysec")
    with pytest.raises(Misconfigured, match="appendfsync is everysec"):
        await opened(kind, broker.url)
    await (await opened(kind, f"{broker.url}?durable=no")).stop()


@pytest.mark.parametrize(
    ("chosen", "url"),
    [
        ("nats", "redis://host"),
        ("redis", "nats://host"),
        ("nats", "nats://host?name=a.b"),
        ("nats", "nats://host?replicas=0"),
        ("redis", "redis://host?maxlen=5"),
        ("kafka", "kafka://host?replicas=many"),
    ],
)
def test_an_url_that_is_none_of_the_broker_is_refused(chosen: str, url: str) -> None:
    with pytest.raises(Misconfigured):
        open_broker(chosen, url)
