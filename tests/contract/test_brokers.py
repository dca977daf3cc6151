"""The brokers behind the bus keep its port."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest_asyncio

from stanchion.events import Bus
from stanchion.events.backends.brokers import open_broker
from stanchion.testing.event_bus import BusSuite, OpensBus, by_lane, drain, entry


def opening(kind: str, url: str) -> OpensBus:
    async def opens() -> Bus:
        bus = open_broker(kind, url)
        await bus.start()
        return bus

    return opens


class BrokerSuite(BusSuite):
    async def test_lanes_that_lie_far_apart_are_all_read_to_their_ends(self, bus: Bus) -> None:
        # A lane of each priority: one with a long past that was read, one with as long a one that was not, one silent.
        many = 2_500
        await asyncio.gather(*(bus.append([entry(number, 20), entry(number, 40)]) for number in range(many)))
        await bus.append([entry(0, 5)])
        far = await drain(bus, {20: 0}, number=many, limit=500)
        found = await drain(bus, {5: 0, 20: far[-1].position, 40: 0}, number=many + 1, limit=500)
        assert {lane: len(bodies) for lane, bodies in by_lane(found).items()} == {5: 1, 40: many}
        after = {5: 0, 20: far[-1].position, 40: found[-1].position}
        after |= {each.lane: each.position for each in found}
        await bus.append([entry(many, 20)])
        assert [each.body for each in await drain(bus, after, number=1)] == [entry(many, 20).body]


class TestNats(BrokerSuite):
    @pytest_asyncio.fixture
    async def opens(self, nats_url: str) -> AsyncIterator[OpensBus]:
        import nats

        name = f"stanchion-test-{secrets.token_hex(6)}"
        yield opening("nats", f"{nats_url}?name={name}")
        client = await nats.connect(nats_url)
        await client.jetstream().delete_stream(name)
        await client.close()


class TestRedis(BrokerSuite):
    @pytest_asyncio.fixture
    async def opens(self, redis_url: str) -> AsyncIterator[OpensBus]:
        from redis.asyncio import Redis

        name = f"stanchion-test-{secrets.token_hex(6)}"
        # The server of the tests is not set up to survive: what these tests hold it to does not need it to.
        yield opening("redis", f"{redis_url}?name={name}&durable=no")
        async with Redis.from_url(redis_url) as server:
            async for key in server.scan_iter(match=f"{{{name}}}:*", count=1000):
                await server.delete(key)


class TestKafka(BrokerSuite):
    """On the mock cluster of librdkafka: it has no removal of records and no look-up by time."""

    keeps_time = False

    @pytest_asyncio.fixture
    async def opens(self, kafka_url: str) -> AsyncIterator[OpensBus]:
        yield opening("kafka", kafka_url)
