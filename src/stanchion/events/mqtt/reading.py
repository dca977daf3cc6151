"""Which event an MQTT message is: a CloudEvent as it stands, or one made of its topic and payload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...core.context import new_request_id
from ...core.errors import Misconfigured, StanchionError
from ...core.http.strict import check_json
from ..contract.event import JSON, Event
from ..wire import binary, structured
from ..wire.attributes import LONGEST, text_fault
from ..wire.media import STRUCTURED, bare, is_json, is_media_type

REFUSED = "mqtt.refused"
"""The type of the event that a message becomes which is none: nothing is lost, and somebody can look at it."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message as it came. `properties` and `content_type` are those of MQTT 5."""

    topic: str
    payload: bytes
    properties: Sequence[tuple[str, str]] = ()
    content_type: str | None = None


class Topics:
    """Event types by topic filter; the first filter that fits a topic decides."""

    def __init__(self, types: Mapping[str, str]) -> None:
        for pattern, kind in types.items():
            if not _is_filter(pattern):
                raise Misconfigured(
                    f"events.mqtt_topics: {pattern!r} is no topic filter", next_step="Write plant/+/temp."
                )
            if not kind or "*" in kind or text_fault(kind):
                raise Misconfigured(f"events.mqtt_topics: {kind!r} is no event type")
        self._types = dict(types)

    @property
    def filters(self) -> Sequence[str]:
        """What to subscribe to."""
        return list(self._types)

    def type_of(self, topic: str) -> str:
        """The event type of a topic, empty where no filter fits."""
        return next((kind for pattern, kind in self._types.items() if fits(pattern, topic)), "")


def event_of(message: Arrived, topics: Topics) -> Event:
    """The event of a message. What says that it is an event and is none becomes one of the type `mqtt.refused`."""
    try:
        if bare(message.content_type or "") == STRUCTURED:
            return structured.read(message.payload)
        if any(name == "specversion" for name, _ in message.properties):
            return binary.from_properties(message.properties, message.payload, message.content_type)
    except StanchionError as error:
        return _plain(message, REFUSED, binary.UNKNOWN).extended(reason=error.detail[:LONGEST])
    return _plain(message, topics.type_of(message.topic) or REFUSED, _kind(message))


def _kind(message: Arrived) -> str:
    """The type of the payload: as it is told, else JSON if it is JSON."""
    told = message.content_type
    if told is None or is_json(told):
        try:
            check_json(message.payload)
        except StanchionError:
            return binary.UNKNOWN
        return told or JSON
    return told if is_media_type(told) else binary.UNKNOWN


def _plain(message: Arrived, kind: str, content_type: str) -> Event:
    topic = message.topic if not text_fault(message.topic) else ""
    return Event(
        type=kind,
        source="/mqtt",
        id=new_request_id(),
        subject=topic[:512],
        data=message.payload,
        content_type=content_type,
    )


def fits(pattern: str, topic: str) -> bool:
    """Whether a topic filter fits a topic. Source: MQTT 5.0, section 4.7."""
    wanted, given = pattern.split("/"), topic.split("/")
    if given[0].startswith("$") and wanted[0] in ("+", "#"):
        return False
    for place, part in enumerate(wanted):
        if part == "#":
            return True
        if place >= len(given) or part not in ("+", given[place]):
            return False
    return len(wanted) == len(given)


def _is_filter(pattern: str) -> bool:
    parts = pattern.split("/")
    whole = all(part in ("+", "#") or not set("+#") & set(part) for part in parts)
    return bool(pattern) and "\0" not in pattern and whole and "#" not in parts[:-1]
