"""Writes to a topic: what is stored of a call is always its beginning, so that writing it again keeps the order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from ....core.errors import Unavailable

if TYPE_CHECKING:
    from ...ports import Entry

SECONDS = 15.0
"""After which a broker that acknowledges nothing is taken for unavailable."""


class _Call:
    """One call's entries on their way; its future has their offsets, or the first error."""

    def __init__(self, number: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[list[int]] = self._loop.create_future()
        self._offsets = [0] * number
        self._left = number

    def told(self, place: int, error: KafkaError | None, message: Message) -> None:
        """One entry's report, in the producer's thread."""
        if error is not None:
            self._loop.call_soon_threadsafe(self.fail, KafkaException(error))
            return
        self._offsets[place] = int(message.offset() or 0)
        self._left -= 1
        if self._left == 0:
            self._loop.call_soon_threadsafe(self._end)

    def fail(self, error: Exception) -> None:
        """End the call with an error, if it has not ended."""
        if not self.future.done():
            self.future.set_exception(error)

    def _end(self) -> None:
        if not self.future.done():
            self.future.set_result(self._offsets)


class Writer:
    """An idempotent producer and the thread that serves it.

    Messages never expire one by one: that could leave the second of two stored without the first. When a call takes too
    long all that waits is given up at once, and the producer with it.
    """

    def __init__(self, options: Mapping[str, str | int | float], topic: str) -> None:
        self._options = {
            **options,
            "enable.idempotence": True,
            "acks": "all",
            "message.timeout.ms": 0,
            "linger.ms": 1,
            "message.max.bytes": 4 << 20,
        }
        self._topic = topic
        self._producer: Producer | None = None
        self._calls: set[_Call] = set()
        self._ends = threading.Event()

    async def write(self, entries: Sequence[Entry], partitions: int) -> list[int]:
        """The offset of each entry. Raises KafkaException, Unavailable."""
        call = _Call(len(entries))
        self._calls.add(call)
        try:
            async with asyncio.timeout(SECONDS):
                for place, entry in enumerate(entries):
                    await self._produce(call, place, entry, entry.lane % partitions)
                return await call.future
        except TimeoutError:
            self._give_up()
            raise Unavailable("the Kafka brokers did not acknowledge in time", retry_after=1) from None
        except BaseException:
            # Cancelled half-way too: what waits must not be stored behind what comes next.
            if not call.future.done():
                self._give_up()
            raise
        finally:
            self._calls.discard(call)

    async def close(self) -> None:
        """Leave; nothing that was acknowledged is lost."""
        self._give_up()

    async def _produce(self, call: _Call, place: int, entry: Entry, partition: int) -> None:
        while True:
            try:
                self._running().produce(
                    self._topic,
                    entry.body,
                    key=b"%d" % entry.lane,
                    partition=partition,
                    on_delivery=lambda error, message: call.told(place, error, message),
                )
            except BufferError:
                await asyncio.sleep(0.01)  # its queue is full: it empties as brokers acknowledge
            else:
                return

    def _running(self) -> Producer:
        if self._producer is None:
            self._producer = Producer(dict(self._options))
            self._ends = threading.Event()
            arguments = (self._producer, self._ends)
            threading.Thread(target=_serve, args=arguments, name="kafka producer", daemon=True).start()
        return self._producer

    def _give_up(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge(in_queue=True, in_flight=True, blocking=False)
            self._ends.set()
        for call in self._calls:
            call.fail(Unavailable("the Kafka brokers did not acknowledge in time", retry_after=1))


def _serve(producer: Producer, ends: threading.Event) -> None:
    while not ends.is_set():
        producer.poll(0.1)
    producer.poll(0)
