"""The topic of the bus: how it is made, what it must not do, and where its partitions begin and end.

All of it blocks.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import TimeoutError as NotInTime
from contextlib import suppress

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.cimpl import NewTopic

from ....core.errors import Misconfigured, Unavailable
from ...ports import LANES

SECONDS = 10.0
_KEEPS = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
_NOT_THERE = (KafkaError._UNSUPPORTED_FEATURE, KafkaError.UNSUPPORTED_VERSION)


class Topic:
    """One topic. Offsets in and out are those of the next message, which is the position of the last one."""

    def __init__(self, options: Mapping[str, str | int | float], name: str, *, replicas: int, durable: bool) -> None:
        self._options, self._name, self._replicas, self._durable = dict(options), name, replicas, durable
        self.partitions = 0
        self._asking: Consumer | None = None
        self._lock = threading.Lock()

    def of(self, lane: int) -> int:
        """The partition that a lane lies in."""
        return lane % self.partitions

    def open(self) -> None:
        """Find or make it. Raises KafkaException, Misconfigured, Unavailable."""
        admin = AdminClient(dict(self._options))
        if self._name not in admin.list_topics(timeout=SECONDS).topics:
            self._make(admin)
        self._asking = Consumer({**self._options, "group.id": f"{self._name}-asking", "enable.auto.commit": False})
        told = self._asking.list_topics(self._name, timeout=SECONDS).topics[self._name]
        self.partitions = len(told.partitions)
        if not self.partitions:
            raise Unavailable(f"the Kafka brokers have no topic {self._name}")
        if self._durable:
            self._check(admin)

    def heads(self) -> dict[int, int]:
        """The end of each partition."""
        return {each: high for each, (_, high) in self._bounds().items()}

    def before(self, milliseconds: int) -> dict[int, int]:
        """An offset of each partition with nothing from then on before it."""
        asked = [TopicPartition(self._name, each, milliseconds) for each in range(self.partitions)]
        with self._lock:
            found = self._consumer.offsets_for_times(asked, timeout=SECONDS)
        bounds = self._bounds()
        offsets = {}
        for place in found:
            low, high = bounds[place.partition]
            # No message from then on: the end, if the last one says so too. Not every broker looks into the times.
            none = place.offset < 0
            offsets[place.partition] = place.offset if not none else high
            if none and high > low and self._time_of(place.partition, high - 1) >= milliseconds:
                offsets[place.partition] = low
        return offsets

    def trim(self, offsets: Mapping[int, int]) -> int:
        """Remove what lies before; how many messages went. Brokers that cannot remove keep all."""
        bounds = self._bounds()
        going = {each: offset for each, offset in offsets.items() if offset > bounds[each][0]}
        if not going:
            return 0
        asked = [TopicPartition(self._name, each, offset) for each, offset in going.items()]
        try:
            for future in AdminClient(dict(self._options)).delete_records(asked).values():
                future.result(SECONDS)
        except KafkaException as error:
            if error.args[0].code() in _NOT_THERE:
                return 0
            raise
        return sum(offset - bounds[each][0] for each, offset in going.items())

    @property
    def _consumer(self) -> Consumer:
        if self._asking is None:
            raise Unavailable("the bus is not connected yet")
        return self._asking

    def _bounds(self) -> dict[int, tuple[int, int]]:
        found = {}
        with self._lock:
            for each in range(self.partitions):
                low, high = self._consumer.get_watermark_offsets(
                    TopicPartition(self._name, each), timeout=SECONDS, cached=False
                )
                found[each] = (low, high)
        return found

    def _time_of(self, partition: int, offset: int) -> int:
        with self._lock:
            self._consumer.assign([TopicPartition(self._name, partition, offset)])
            message = self._consumer.poll(SECONDS)
            self._consumer.unassign()
        if message is None or message.error() is not None:
            raise Unavailable("the Kafka brokers did not answer in time")
        return int(message.timestamp()[1])

    def _make(self, admin: AdminClient) -> None:
        config = {**_KEEPS, "max.message.bytes": str(4 << 20)}
        new = NewTopic(self._name, num_partitions=LANES, replication_factor=self._replicas, config=config)
        try:
            for future in admin.create_topics([new], request_timeout=SECONDS).values():
                future.result(SECONDS)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise

    def _check(self, admin: AdminClient) -> None:
        resource = ConfigResource(ConfigResource.Type.TOPIC, self._name)
        told = {}
        with suppress(KafkaException, NotInTime):
            (future,) = admin.describe_configs([resource], request_timeout=SECONDS).values()
            told = future.result(SECONDS)
        wrong = [
            f"{name}={told[name].value}" for name, value in _KEEPS.items() if name in told and told[name].value != value
        ]
        if wrong:
            raise Misconfigured(
                f"the topic {self._name} would lose events: {', '.join(wrong)}",
                next_step="Give the bus a topic without retention; it removes handled events itself.",
            )
