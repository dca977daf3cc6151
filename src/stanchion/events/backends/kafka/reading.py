"""Reads partitions from a place on, without a consumer group: positions are kept in the house's database."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

_STEP = 0.25
"""For how long a thread waits at once: a caller who leaves is noticed after it."""


class Reader:
    """A consumer over some partitions; `next` says from which offset each goes on."""

    def __init__(self, options: Mapping[str, str | int | float], topic: str) -> None:
        self._topic = topic
        self.next: dict[int, int] = {}
        self._consumer = Consumer(
            {
                **options,
                # Named because the library wants a name; it joins no group and commits nothing.
                "group.id": f"{topic}-reader",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                # Behind what was trimmed it begins with the first that is kept.
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 100,
                "queued.max.messages.kbytes": 16_384,
            }
        )

    def seek(self, offsets: Mapping[int, int]) -> bool:
        """Go on from these offsets of these partitions; whether they are others than those where it stood."""
        if self.next == offsets:
            return False
        self.next = dict(offsets)
        self._consumer.assign([TopicPartition(self._topic, each, offset) for each, offset in offsets.items()])
        return True

    async def read(self, limit: int, wait: float) -> list[Message]:
        """At most `limit` messages, after at most `wait` seconds for the first. Raises KafkaException."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        while True:
            left = deadline - loop.time()
            found = await asyncio.to_thread(self._some, limit, min(max(left, 0.0), _STEP))
            if found or left <= _STEP:
                return found

    def _some(self, limit: int, wait: float) -> list[Message]:
        # To ask for many at once would wait until so many have come.
        first = self._consumer.poll(wait)
        if first is None:
            return []
        found = [first, *self._consumer.consume(limit - 1, timeout=0)] if limit > 1 else [first]
        for message in found:
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
        good = [message for message in found if message.error() is None]
        for message in good:
            self.next[int(message.partition() or 0)] = int(message.offset() or 0) + 1
        return good

    def close(self) -> None:
        """Leave. Blocks."""
        self._consumer.close()
