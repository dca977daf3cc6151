"""Takes messages of an MQTT broker at QoS 1, and acknowledges each once its event is stored.

A broker sends again what was not acknowledged, to the same session: after a crash a message may come twice. CloudEvents
have an id of their own and are handled once all the same; a plain payload has none.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ...core.context import Context
from ...core.errors import Misconfigured, StanchionError, Throttled
from ...core.tasks import end_tasks
from ..contract.event import Event
from .reading import Arrived, Topics, event_of

if TYPE_CHECKING:
    import aiomqtt

Publish = Callable[[Context, Sequence[Event]], Awaitable[object]]
_TOGETHER = 200
_WITHOUT_ANSWER = 1_000
_SESSION_SECONDS = 7 * 86_400
_FIRST, _LONGEST = 0.5, 30.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is, and the session's name there. `mqtts` is MQTT over TLS."""

    host: str
    port: int
    tls: bool
    session: str
    user: str | None = None


def broker_of(url: str, session: str) -> Broker:
    """The broker of a URL such as `mqtt://user@127.0.0.1:1883`. Raises Misconfigured."""
    parts = urlsplit(url)
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.password:
        raise Misconfigured(
            f"events.mqtt_url is no address of a broker: {parts.scheme}://{parts.hostname}",
            next_step="Write mqtt://host:1883 or mqtts://user@host:8883; the password is events.mqtt_password.",
        )
    tls = parts.scheme == "mqtts"
    return Broker(parts.hostname, parts.port or (8883 if tls else 1883), tls, session, parts.username)


class Bridge:
    """One session with a broker, kept up while the process runs."""

    def __init__(
        self,
        broker: Broker,
        topics: Topics,
        publish: Publish,
        *,
        author: Callable[[], Context],
        password: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        self._broker = broker
        self._password = password
        self._topics = topics
        self._publish = publish
        self._author = author
        self._task: asyncio.Task[None] | None = None
        self.connected = asyncio.Event()

    async def start(self) -> None:
        """Begin; returns before the broker has answered."""
        self._task = asyncio.create_task(self._keep_up(), name="mqtt")

    async def stop(self) -> None:
        """Disconnect. What was not acknowledged the broker keeps."""
        await end_tasks(self._task)

    async def _keep_up(self) -> None:
        import aiomqtt

        pause = _FIRST
        while True:
            try:
                secret = await self._password() if self._password is not None else None
                async with self._client(secret) as client:
                    await client.subscribe([(pattern, 1) for pattern in self._topics.filters])
                    self.connected.set()
                    pause = _FIRST
                    await self._pump(client)
            except (aiomqtt.MqttError, OSError, StanchionError) as error:
                _log.warning("the MQTT broker is not there, asked again in %g s: %s", pause, error)
            finally:
                self.connected.clear()
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST)

    def _client(self, password: str | None) -> aiomqtt.Client:
        import aiomqtt
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        properties: Any = Properties  # without types of its own
        told = properties(PacketTypes.CONNECT)
        told.SessionExpiryInterval = _SESSION_SECONDS
        # More are not sent before these are acknowledged: what is not stored yet waits at the broker, not here.
        told.ReceiveMaximum = _WITHOUT_ANSWER
        broker = self._broker
        client = aiomqtt.Client(
            broker.host,
            broker.port,
            username=broker.user,
            password=password,
            identifier=broker.session,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=False,
            properties=told,
            tls_context=ssl.create_default_context() if broker.tls else None,
        )
        # aiomqtt acknowledges on arrival and has no option against it; the library below it has.
        _paho(client).manual_ack_set(True)
        return client

    async def _pump(self, client: aiomqtt.Client) -> None:
        waiting: list[aiomqtt.Message] = []
        async for message in client.messages:
            waiting.append(message)
            if len(client.messages) == 0 or len(waiting) >= _TOGETHER:
                await self._store(waiting)
                for each in waiting:
                    _paho(client).ack(each.mid, each.qos)
                waiting = []

    async def _store(self, messages: Sequence[aiomqtt.Message]) -> None:
        """Return once every message's event is durable, however long that takes."""
        events = [event_of(_arrived(message), self._topics) for message in messages]
        try:
            await self._insist(events)
        except StanchionError:
            # One of them is not acceptable to the bus: the others must not wait for it.
            for event in events:
                await self._one(event)

    async def _one(self, event: Event) -> None:
        try:
            await self._insist([event])
        except StanchionError as error:
            _log.error("an MQTT message was passed over, as the bus refuses it: %s", error.detail)

    async def _insist(self, events: Sequence[Event]) -> None:
        pause = _FIRST
        while True:
            try:
                await self._publish(self._author(), events)
                return
            except Throttled as error:
                pause = max(error.retry_after or 0.0, _FIRST)
            except StanchionError as error:
                if error.status < 500:
                    raise
                _log.warning("events from MQTT wait, as they cannot be stored: %s", error.detail)
                pause = min(pause * 2, _LONGEST)
            await asyncio.sleep(pause)


def _arrived(message: aiomqtt.Message) -> Arrived:
    told = message.properties
    payload = message.payload
    return Arrived(
        str(message.topic),
        payload if isinstance(payload, bytes) else b"" if payload is None else str(payload).encode(),
        tuple(getattr(told, "UserProperty", ())),
        getattr(told, "ContentType", None),
    )


def _paho(client: aiomqtt.Client) -> Any:
    return client._client
