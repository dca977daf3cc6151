"""The line to the NATS server and the one stream behind it, in words of the bus."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, ConsumerInfo, PubAck, RetentionPolicy, StorageType, StreamConfig, StreamState

from ....core.errors import Misconfigured, Unavailable
from ....core.tasks import end_tasks

SECONDS = 10.0
"""After which a server that says nothing is taken for unavailable."""
_TO_CONNECT = 5.0
_HEADROOM = 4 << 10
_MOST = 1 << 20
_PENDING = 16_000


class Connection:
    """One connection, which comes back by itself; meanwhile nothing is sent, so that nothing is stored late."""

    def __init__(self, servers: Sequence[str], *, stream: str, replicas: int, user: str, password: str) -> None:
        self._servers, self._replicas = list(servers), replicas
        self._user, self._password = user, password
        self.stream = stream
        self.client = Client()
        self._js: JetStreamContext | None = None
        self._tried = False
        self._sent: set[asyncio.Future[PubAck]] = set()

    async def open(self, *, interrupted: Callable[[str], None]) -> None:
        """Connect and make the stream. Raises Unavailable, and Misconfigured for a stream that drops messages."""

        async def lost() -> None:
            # Acknowledgements under way are gone with the connection: nobody need wait for them in vain.
            for future in [each for each in self._sent if not each.done()]:
                future.set_exception(nats.errors.ConnectionClosedError())
            interrupted("the connection to the server broke")

        async def quiet(error: Exception) -> None:
            """Whoever waits for an answer is told by its absence; the client's own log would repeat it."""

        if self._tried:
            # A client that was given up half-way is of no use any more.
            await self.close()
            self.client = Client()
        self._tried = True
        try:
            await _ended(
                self.client.connect(
                    self._servers,
                    name=f"stanchion {self.stream}",
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=1,
                    ping_interval=5,
                    max_outstanding_pings=2,
                    disconnected_cb=lost,
                    error_cb=quiet,
                    user=self._user or None,
                    password=self._password or None,
                ),
                _TO_CONNECT,
            )
            self._js = self.client.jetstream(timeout=SECONDS, publish_async_max_pending=_PENDING)
            await self._make_stream(self._js)
        except (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError) as error:
            raise Unavailable(f"the NATS server did not answer: {type(error).__name__}: {error}") from error

    @property
    def js(self) -> JetStreamContext:
        """JetStream. Raises Unavailable before `open`."""
        if self._js is None:
            raise Unavailable("the bus is not connected yet")
        return self._js

    @property
    def room(self) -> int:
        """Bytes of a message's payload that the server takes, of which we use a megabyte at most."""
        return min(self.client.max_payload, _MOST) - _HEADROOM

    def check(self) -> None:
        """Return if the connection stands. Raises Unavailable: what is sent while it is down would be stored later."""
        if not self.client.is_connected:
            raise Unavailable("the NATS server is not connected at present", retry_after=1)

    def subject(self, rest: str) -> str:
        """A subject of this bus."""
        return f"{self.stream}.{rest}"

    def holds(self, subject: str) -> bool:
        """Whether the subject is of entries, not of parts."""
        return subject.count(".") == 4

    async def publish(self, rest: str, payload: bytes) -> Awaitable[PubAck]:
        """What will tell the message's sequence once it is stored. Messages are stored in the order of the calls,
        unless the connection breaks between them."""
        self.check()
        future = await self.js.publish_async(self.subject(rest), payload)
        self._sent.add(future)
        future.add_done_callback(self._sent.discard)
        return future

    async def message(self, sequence: int) -> bytes:
        """The payload of one message. Raises the client's NotFoundError where it is gone."""
        self.check()
        found = await self.js.get_msg(self.stream, sequence)
        return found.data or b""

    async def state(self, *, subjects: bool = False) -> StreamState:
        """What the stream holds, with the number of messages by subject if that is asked for."""
        self.check()
        told = await self.js.stream_info(self.stream, subjects_filter=">" if subjects else None)
        return told.state

    async def probe(self, config: ConsumerConfig) -> ConsumerInfo:
        """What a consumer made so would have before it; none is left behind."""
        self.check()
        config.inactive_threshold, config.mem_storage, config.num_replicas = 5.0, True, 1
        made = await self.js.add_consumer(self.stream, config)
        with suppress(nats.js.errors.NotFoundError):
            await self.js.delete_consumer(self.stream, made.name)
        return made

    async def purge(self, rest: str, *, before: int) -> int:
        """Remove messages of a subject with a sequence below; how many went."""
        if before <= 1:
            return 0
        held = (await self.state()).messages
        await self.js.purge_stream(self.stream, subject=self.subject(rest), seq=before)
        return max(0, held - (await self.state()).messages)

    async def close(self) -> None:
        """Leave."""
        with suppress(nats.errors.Error, OSError, TimeoutError):
            await _ended(self.client.close(), SECONDS)

    async def _make_stream(self, js: JetStreamContext) -> None:
        try:
            config = (await js.stream_info(self.stream)).config
        except nats.js.errors.NotFoundError:
            made = await js.add_stream(
                StreamConfig(
                    name=self.stream,
                    subjects=[f"{self.stream}.>"],
                    storage=StorageType.FILE,
                    num_replicas=self._replicas,
                )
            )
            config = made.config
        drops = [
            what
            for what, wrong in (
                ("max_age", bool(config.max_age)),
                ("max_msgs", (config.max_msgs or -1) > 0),
                ("max_bytes", (config.max_bytes or -1) > 0),
                ("max_msgs_per_subject", (config.max_msgs_per_subject or -1) > 0),
                ("a retention by interest", config.retention != RetentionPolicy.LIMITS),
                ("storage in memory", config.storage != StorageType.FILE),
            )
            if wrong
        ]
        if drops:
            raise Misconfigured(
                f"the stream {self.stream} would lose events: it has {', '.join(drops)}",
                next_step="Give the bus a stream without limits, on disk; it removes handled events itself.",
            )


async def _ended(work: Coroutine[Any, Any, None], seconds: float) -> None:
    """Return when it has. Raises TimeoutError after so many seconds, though the client swallowed its cancellation:
    from then on it would try to connect for ever."""
    task = asyncio.create_task(work)
    try:
        await asyncio.wait([task], timeout=seconds)
    finally:
        await end_tasks(task)
    if task.cancelled():
        raise TimeoutError
    task.result()
