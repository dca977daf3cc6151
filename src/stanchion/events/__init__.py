"""A bus of events that loses nothing and keeps the order of each key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..core.context import Context
from .contract import *
from .contract import Event, EventType
from .contract import __all__ as _contract
from .ports import LANES, SLOTS, Bus, Entry, Page, Stored
from .streams.detectors.detector import Detector
from .streams.detectors.ewma import Ewma
from .streams.detectors.limit import Limit
from .streams.detectors.robust import RobustZ
from .streams.detectors.trees import HalfSpaceTrees
from .streams.measures import Measure
from .streams.processing import Stream
from .streams.rolling import Rolling
from .streams.spec import StreamSpec, Windowed
from .streams.watermark import Progress
from .streams.windows import Session, Sliding, Tumbling

if TYPE_CHECKING:
    from sqlalchemy import Connection


def stage(transaction: Connection, ctx: Context, events: Sequence[Event]) -> None:
    """Publish events in the caller's own transaction on the house's database: the change and its news commit together.

    For use inside the function given to `Database.write`. Over a broker the events lie in the database until they are
    handed on, in their order. No backlog refuses them. Raises InvalidInput for an event that could not be published,
    with path and reason for data that do not fit the newest schema of their type.
    """
    from .outbox import stage as staged  # the engine is loaded where it is used, not with the door

    staged(transaction, ctx, events)


def parse(content: bytes) -> Sequence[Event]:
    """The events of a CloudEvents document in JSON: of one, or of a batch. Raises InvalidInput, MalformedRequest."""
    from .wire.structured import read, read_batch

    return read_batch(content) if content.lstrip()[:1] == b"[" else (read(content),)


def render(event: Event) -> bytes:
    """The event as a CloudEvents document in JSON."""
    from .wire.structured import written

    return written(event)


def asyncapi(title: str, version: str, types: Sequence[EventType]) -> dict[str, Any]:
    """The AsyncAPI 3 document of these event types, ready for JSON."""
    from .describing import document

    return document(title, version, types)


__all__ = [
    *_contract,
    "LANES",
    "SLOTS",
    "Bus",
    "Detector",
    "Entry",
    "Ewma",
    "HalfSpaceTrees",
    "Limit",
    "Measure",
    "Page",
    "Progress",
    "RobustZ",
    "Rolling",
    "Session",
    "Sliding",
    "Stored",
    "Stream",
    "StreamSpec",
    "Tumbling",
    "Windowed",
    "asyncapi",
    "parse",
    "render",
    "stage",
]
