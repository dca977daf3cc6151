"""The module of events keeps its contract over brokers, with its own state in SQLite."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from stanchion.testing.event_contract import EventsSuite, Opens
from stanchion.testing.events import running, sqlite_url


def opening(folder: Path, kind: str, url: str) -> Opens:
    place = {"bus": kind, "url": url}
    return lambda *declared, **more: running(sqlite_url(folder), *declared, **{**place, **more})


class TestNats(EventsSuite):
    @pytest_asyncio.fixture
    async def opens(self, tmp_path: Path, nats_url: str) -> AsyncIterator[Opens]:
        import nats

        name = f"stanchion-test-{secrets.token_hex(6)}"
        yield opening(tmp_path, "nats", f"{nats_url}?name={name}")
        client = await nats.connect(nats_url)
        await client.jetstream().delete_stream(name)
        await client.close()


class TestRedis(EventsSuite):
    @pytest_asyncio.fixture
    async def opens(self, tmp_path: Path, redis_url: str) -> AsyncIterator[Opens]:
        from redis.asyncio import Redis

        name = f"stanchion-test-{secrets.token_hex(6)}"
        yield opening(tmp_path, "redis", f"{redis_url}?name={name}&durable=no")
        async with Redis.from_url(redis_url) as server:
            async for key in server.scan_iter(match=f"{{{name}}}:*", count=1000):
                await server.delete(key)


class TestKafka(EventsSuite):
    @pytest.fixture
    def opens(self, tmp_path: Path, kafka_url: str) -> Opens:
        return opening(tmp_path, "kafka", kafka_url)
