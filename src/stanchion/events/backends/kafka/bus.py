"""The bus on Kafka: lanes in the partitions of one topic, positions made of offsets.

Consumer groups are not used: how far a consumer has come commits with its handlers' writes, in the house's database.
Partitions must never be added to the topic: lanes would move to others.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TypeVar

from confluent_kafka import KafkaException

from ....core.clock import micros
from ....core.errors import Unavailable
from ...ports import LANES, Bus, Entry, Page, Stored
from .reading import Reader
from .topic import Topic
from .writing import Writer

CLOCKS = timedelta(seconds=60)
"""How far the clocks of this machine, of the brokers and of other writers may lie apart."""
_ON_ITS_WAY = 2.0
_IDLE = 8
"""Readers kept for the reads that go on where they stand."""
T = TypeVar("T")


class KafkaBus(Bus):
    """The log in a topic of its own, which is made where it is missing: 48 partitions that keep all they are given.

    With `durable` it raises Misconfigured at `start` if the topic there drops messages by itself.
    """

    trusted = False

    def __init__(self, servers: str, *, topic: str, replicas: int = 1, durable: bool = True) -> None:
        self._options: dict[str, str | int | float] = {"bootstrap.servers": servers, "log_level": 0}
        self._name = topic
        self._topic = Topic(self._options, topic, replicas=replicas, durable=durable)
        self._writer = Writer(self._options, topic)
        self._idle: list[Reader] = []

    async def start(self) -> None:
        await self._asked(self._topic.open)

    async def append(self, entries: Sequence[Entry]) -> Sequence[int]:
        if not entries:
            return []
        async with _trouble():
            return [offset + 1 for offset in await self._writer.write(entries, self._topic.partitions)]

    async def read(
        self,
        after: Mapping[int, int],
        *,
        limit: int,
        wait: float = 0.0,
        tenant: str | None = None,
        types: Sequence[str] = ("*",),
    ) -> Page:
        if not after or limit < 1:
            return Page((), dict(after))
        offsets = self._offsets(after)
        async with _trouble(), self._reader(offsets) as (reader, moved):
            if moved and wait < _ON_ITS_WAY and await self.behind(after, most=1):
                # What is there takes a moment to come: it is waited for even by who does not wait.
                wait = _ON_ITS_WAY
            messages = await reader.read(limit, wait)
            if not messages and not wait and await self.behind(after, most=1):
                # Where it stood more is on its way: who does not wait takes nothing for the end.
                messages = await reader.read(limit, _ON_ITS_WAY)
        found = []
        for message in messages:
            lane, position = int(message.key() or b"-1"), int(message.offset() or 0) + 1
            if lane in after and position > after[lane]:
                found.append(Stored(lane, position, message.value() or b""))
        return Page(found, {lane: max(at, reader.next[self._topic.of(lane)]) for lane, at in after.items()})

    async def heads(self) -> Mapping[int, int]:
        heads = await self._asked(self._topic.heads)
        return {lane: heads[self._topic.of(lane)] for lane in range(LANES)}

    async def before(self, moment: datetime) -> Mapping[int, int]:
        at = micros(moment - CLOCKS) // 1000
        found = await self._asked(lambda: self._topic.before(at))
        return {lane: found[self._topic.of(lane)] for lane in range(LANES)}

    async def behind(self, after: Mapping[int, int], *, most: int) -> int:
        heads = await self._asked(self._topic.heads)
        return min(most, sum(max(0, heads[each] - at) for each, at in self._offsets(after).items()))

    async def trim(self, upto: Mapping[int, int], *, older: datetime) -> int:
        before = await self.before(older)
        # Of a partition only what no lane in it still needs; a lane that was not named needs all.
        lanes = {lane: min(upto.get(lane, 0), before[lane]) for lane in range(LANES)}
        return await self._asked(lambda: self._topic.trim(self._offsets(lanes)))

    async def stop(self) -> None:
        await self._writer.close()
        readers, self._idle = self._idle, []
        for reader in readers:
            await asyncio.to_thread(reader.close)

    def _offsets(self, lanes: Mapping[int, int]) -> dict[int, int]:
        found: dict[int, int] = {}
        for lane, place in lanes.items():
            partition = self._topic.of(lane)
            found[partition] = min(place, found.get(partition, place))
        return found

    @asynccontextmanager
    async def _reader(self, offsets: Mapping[int, int]) -> AsyncIterator[tuple[Reader, bool]]:
        places = [number for number, reader in enumerate(self._idle) if reader.next == offsets]
        fits = places[0] if places else len(self._idle) - 1
        reader = self._idle.pop(fits) if self._idle else Reader(self._options, self._name)
        try:
            yield reader, reader.seek(offsets)
        except BaseException:
            # A thread may still be reading from it: it is left to end by itself.
            asyncio.get_running_loop().run_in_executor(None, reader.close)
            raise
        self._idle.append(reader)
        if len(self._idle) > _IDLE:
            await asyncio.to_thread(self._idle.pop(0).close)

    async def _asked(self, work: Callable[[], T]) -> T:
        async with _trouble():
            return await asyncio.to_thread(work)


@asynccontextmanager
async def _trouble() -> AsyncIterator[None]:
    try:
        yield
    except (KafkaException, TimeoutError) as error:
        raise Unavailable(f"the Kafka brokers did not answer: {error}") from error
