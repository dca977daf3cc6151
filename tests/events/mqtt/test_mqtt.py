"""MQTT in: which event a message is, and that a message is acknowledged once it is stored and not before."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import pytest

from stanchion.core.context import Context, system_context
from stanchion.core.errors import InvalidInput, Misconfigured, Throttled, Unavailable
from stanchion.events import Event
from stanchion.events.mqtt.bridge import Bridge, broker_of
from stanchion.events.mqtt.reading import REFUSED, Arrived, Topics, event_of, fits

TOPICS = Topics({"plant/+/temp": "temperature.measured", "plant/#": "plant.told"})
EVENT = json.dumps({"specversion": "1.0", "id": "7", "source": "/d", "type": "a.b", "data": 1}).encode()


def test_a_payload_becomes_an_event_of_the_first_topic_that_fits() -> None:
    found = event_of(Arrived("plant/7/temp", b'{"c": 21.5}'), TOPICS)
    assert (found.type, found.subject, found.source, found.json()) == (
        "temperature.measured", "plant/7/temp", "/mqtt", {"c": 21.5},
    )  # fmt: skip
    assert event_of(Arrived("plant/7/other/x", b"\x00"), TOPICS).content_type == "application/octet-stream"
    assert event_of(Arrived("plant/7/other/x", b"on", content_type="text/plain"), TOPICS).type == "plant.told"


def test_a_cloudevent_comes_through_as_it_is() -> None:
    whole = event_of(Arrived("plant/1", EVENT, content_type="application/cloudevents+json"), TOPICS)
    assert (whole.id, whole.source, whole.type, whole.json()) == ("7", "/d", "a.b", 1)
    properties = [("specversion", "1.0"), ("id", "8"), ("source", "/d"), ("type", "a.b")]
    assert event_of(Arrived("plant/1", b"x", properties, "text/plain"), TOPICS).id == "8"


@pytest.mark.parametrize(
    "message",
    [
        Arrived("plant/1", b"{", content_type="application/cloudevents+json"),
        Arrived("plant/1", b"[]", content_type="application/cloudevents+json"),
        Arrived("plant/1", b"x", [("specversion", "1.0")]),
        Arrived("elsewhere", b"x"),
    ],
)
def test_what_is_no_event_is_kept_as_one_that_says_so(message: Arrived) -> None:
    found = event_of(message, TOPICS)
    assert (found.type, found.data, found.subject) == (REFUSED, message.payload, message.topic)


@pytest.mark.parametrize(
    ("pattern", "topic", "fit"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/b/c", False),
        ("a/+", "a/b", True),
        ("a/+", "a/b/c", False),
        ("a/+", "a", False),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("#", "a/b", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("+/+", "/x", True),
        ("/+", "/x", True),
        ("+", "/x", False),
    ],
)
def test_topic_filters_fit_as_the_standard_says(pattern: str, topic: str, fit: bool) -> None:
    assert fits(pattern, topic) is fit


def test_a_filter_an_event_type_or_an_address_that_is_none_is_refused() -> None:
    for wrong in ({"a/#/b": "t"}, {"a+": "t"}, {"": "t"}, {"a": ""}, {"a": "t.*"}):
        with pytest.raises(Misconfigured):
            Topics(wrong)
    for url in ("http://a", "mqtt://", "mqtt://u:p@a"):
        with pytest.raises(Misconfigured):
            broker_of(url, "s")
    assert broker_of("mqtts://me@broker", "s").port == 8883


class Store:
    """Where events end: it may refuse, and may be made to wait."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.faults: list[Exception] = []
        self.calls = 0
        self.open = asyncio.Event()
        self.open.set()

    async def publish(self, ctx: Context, events: Sequence[Event]) -> None:
        self.calls += 1
        await self.open.wait()
        if self.faults:
            raise self.faults.pop(0)
        if len(events) > 1 and any(event.type == REFUSED for event in events):
            raise InvalidInput("one of them is not acceptable")
        self.events += events


async def _until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not done():
            await asyncio.sleep(0.01)


class Devices:
    """A bridge to the real broker with its own topics and session, and a device that publishes there."""

    def __init__(self, url: str) -> None:
        self.name = f"stanchion-test-{secrets.token_hex(6)}"
        self.topics = Topics({f"{self.name}/+": "measured"})
        self.url = url
        self.store = Store()

    def bridge(self) -> Bridge:
        return Bridge(
            broker_of(self.url, self.name),
            self.topics,
            self.store.publish,
            author=lambda: system_context("a", task="t"),
        )

    async def say(self, *payloads: bytes) -> None:
        import aiomqtt

        parts = urlsplit(self.url)
        async with aiomqtt.Client(parts.hostname or "", parts.port or 1883) as client:
            for payload in payloads:
                await client.publish(f"{self.name}/1", payload, qos=1)

    async def end(self) -> None:
        """Remove the session that the broker keeps."""
        import aiomqtt

        parts = urlsplit(self.url)
        async with aiomqtt.Client(
            parts.hostname or "",
            parts.port or 1883,
            identifier=self.name,
            clean_start=True,
            protocol=aiomqtt.ProtocolVersion.V5,
        ):
            pass


async def test_what_devices_publish_arrives_in_their_order(mqtt_url: str) -> None:
    devices = Devices(mqtt_url)
    bridge = devices.bridge()
    await bridge.start()
    async with asyncio.timeout(60):
        await bridge.connected.wait()
    await devices.say(*(str(n).encode() for n in range(500)))
    await _until(lambda: len(devices.store.events) == 500)
    assert [event.json() for event in devices.store.events] == list(range(500))
    await bridge.stop()
    await devices.end()


async def test_a_message_is_acknowledged_after_it_is_stored_and_not_before(
    mqtt_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One at a time: the next one comes when the broker has taken in that the last one is acknowledged.
    monkeypatch.setattr("stanchion.events.mqtt.bridge._WITHOUT_ANSWER", 1)
    devices = Devices(mqtt_url)
    first = devices.bridge()
    await first.start()
    async with asyncio.timeout(60):
        await first.connected.wait()
    devices.store.open.clear()
    await devices.say(b"1", b"2", b"3")
    await _until(lambda: devices.store.calls > 0)
    # The process ends while its store has not answered: the broker has no acknowledgement, and sends again.
    await first.stop()
    assert devices.store.events == []
    devices.store.open.set()
    await devices.say(b"4")
    second = devices.bridge()
    await second.start()
    await _until(lambda: len(devices.store.events) >= 4)
    assert sorted({event.json() for event in devices.store.events}) == [1, 2, 3, 4]
    await devices.say(b"5")
    await _until(lambda: devices.store.events[-1].json() == 5)
    await second.stop()
    # What was stored is acknowledged: a third session gets nothing of it, but for the last one perhaps.
    devices.store.events.clear()
    third = devices.bridge()
    await third.start()
    await devices.say(b"6")
    await _until(lambda: any(event.json() == 6 for event in devices.store.events))
    assert {event.json() for event in devices.store.events} <= {5, 6}
    await third.stop()
    await devices.end()


async def test_a_store_that_is_full_or_away_keeps_the_message_at_the_broker(mqtt_url: str) -> None:
    devices = Devices(mqtt_url)
    devices.store.faults = [Throttled("too far behind", retry_after=0.0), Unavailable("the database is away")]
    bridge = devices.bridge()
    await bridge.start()
    async with asyncio.timeout(60):
        await bridge.connected.wait()
    await devices.say(b"1")
    await _until(lambda: len(devices.store.events) == 1)
    assert devices.store.calls == 3
    await bridge.stop()
    await devices.end()
