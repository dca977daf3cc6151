"""Reads a stream from a place on: a consumer of the server's, from which messages are fetched ahead in bounded number.

It acknowledges nothing: how far a reader has come is kept in the house's database. The server forgets it after a while.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

import nats.errors
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from ....core.errors import Unavailable

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription
    from nats.js import JetStreamContext

AHEAD = 256
"""Messages asked for at once; at most twice as many are here or on their way."""
AHEAD_BYTES = 16 << 20
_EXPIRES = 20.0
_FORGOTTEN = 120.0
_ON_ITS_WAY = 2.0


class Cursor:
    """Messages of a stream behind sequence `at`, in order, each once. Raises Unavailable once anything went missing."""

    def __init__(self, client: Client, js: JetStreamContext, *, stream: str, subject: str, at: int) -> None:
        self.at = at
        self.used = 0.0
        self._client, self._js, self._stream, self._subject = client, js, stream, subject
        self._ready: deque[Msg] = deque()
        self._came = asyncio.Event()
        self._asked = 0
        self._until = 0.0
        self._next = 1
        self._broken = ""
        self._name = ""
        self._pending = 0
        self._subscription: Subscription | None = None

    async def open(self) -> None:
        """Make the consumer. Raises what the client raises."""
        made = await self._js.add_consumer(
            self._stream,
            ConsumerConfig(
                ack_policy=AckPolicy.NONE,
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=self.at + 1,
                filter_subject=self._subject,
                inactive_threshold=_FORGOTTEN,
                mem_storage=True,
                num_replicas=1,
            ),
        )
        self._name, self._pending = made.name, made.num_pending or 0
        self._inbox = self._client.new_inbox()
        self._subscription = await self._client.subscribe(self._inbox, cb=self._take)

    async def peek(self, wait: float) -> Msg | None:
        """The next message, which stays; None if none comes within `wait` seconds. Raises Unavailable.

        A message that the server is known to have is waited for in any case.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        await self._ask(began)
        while not self._ready:
            if self._broken:
                raise Unavailable(f"the reading of events was interrupted: {self._broken}")
            self._came.clear()
            left = began + (max(wait, _ON_ITS_WAY) if self._pending else wait) - loop.time()
            if left <= 0:
                return None
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, 1.0)):
                    await self._came.wait()
            await self._ask(loop.time())
        return self._ready[0]

    @property
    def more(self) -> bool:
        """Whether a message is here, or known to be on its way."""
        return bool(self._ready or self._pending)

    def take(self) -> Msg:
        """The message that `peek` gave: it is read now."""
        message = self._ready.popleft()
        self.at = sequence(message)
        return message

    async def nothing_is_left(self) -> bool:
        """Whether the server had nothing more for it when it was asked. Raises what the client raises."""
        told = await self._js.consumer_info(self._stream, self._name)
        sent = told.delivered.consumer_seq if told.delivered else 0
        return not told.num_pending and not self._ready and sent == self._next - 1

    def skip(self, at: int) -> None:
        """Nothing of its own lies before: it stands there now."""
        self.at = max(self.at, at)

    async def close(self) -> None:
        """Leave; the server's part is removed if it answers, or forgotten by itself."""
        self._broken = "it was closed"
        with suppress(nats.errors.Error, OSError, TimeoutError):
            if self._subscription is not None:
                await self._subscription.unsubscribe()
            if self._client.is_connected:
                await self._client.publish(f"$JS.API.CONSUMER.DELETE.{self._stream}.{self._name}")

    def interrupt(self, reason: str) -> None:
        """The connection broke: what was sent meanwhile is gone, so this cursor ends."""
        self._broken = reason
        self._came.set()

    async def _ask(self, now: float) -> None:
        # A request that the server never answered (it was restarted, say) is taken for lost two seconds after its end.
        if self._asked > 0 and now > self._until + 2:
            self._asked = 0
        if self._asked > AHEAD // 2 or len(self._ready) > AHEAD:
            return
        self._asked, self._until = self._asked + AHEAD, now + _EXPIRES
        asked = {"batch": AHEAD, "max_bytes": AHEAD_BYTES, "expires": int(_EXPIRES * 1e9)}
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._name}"
        await self._client.publish(subject, json.dumps(asked).encode(), reply=self._inbox)

    async def _take(self, message: Msg) -> None:
        if not message.reply:
            self._status(message)
        elif delivered(message) != self._next:
            self.interrupt("messages were lost on the way")
        else:
            self._next += 1
            self._asked -= 1
            self._pending = pending(message)
            self._ready.append(message)
        self._came.set()

    def _status(self, message: Msg) -> None:
        headers = message.headers or {}
        status, told = headers.get("Status", ""), headers.get("Description", "")
        # The end of a request is no fault; a server that knows the consumer no more is one.
        if status in ("404", "408") or (status == "409" and "max" in told.lower()):
            self._asked = max(0, self._asked - int(headers.get("Nats-Pending-Messages", AHEAD)))
        elif status != "100":
            self.interrupt(f"{status} {told}".strip())


def sequence(message: Msg) -> int:
    """The message's place in the stream."""
    return int(_tokens(message)[-4])


def delivered(message: Msg) -> int:
    """How many messages its consumer had sent, with this one."""
    return int(_tokens(message)[-3])


def pending(message: Msg) -> int:
    """How many messages its consumer had not sent yet."""
    return int(_tokens(message)[-1])


def _tokens(message: Msg) -> list[str]:
    # $JS.ACK.stream.consumer.attempts.sequence.delivered.time.pending, with domain and account before stream and a
    # token of chance behind it all on servers of several domains (nats.io, ADR-15).
    tokens = message.reply.split(".")
    return tokens if len(tokens) == 9 else tokens[:-1]
