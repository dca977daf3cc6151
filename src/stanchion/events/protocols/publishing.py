"""POST /v1/events: CloudEvents in structured, batch and binary mode; answered once every event is stored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from ...core.errors import FieldProblem, InvalidInput
from ...core.http.limits import read_body
from ...core.http.routes import BODY, CONTEXT, ROW
from ...core.redaction import redact
from ...core.telemetry.contract import LedgerRow
from ..contract import Event, Events
from ..wire import binary, structured
from ..wire.media import BATCHED, STRUCTURED, bare
from ..wire.times import parsed
from .query import one

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

PATH = "/v1/events"
_MOST = 8 << 20  # where no door has read the body already, as in a test
_encode = msgspec.json.Encoder().encode


class Publishing:
    """The ASGI application of the route, over gated events."""

    def __init__(self, events: Events) -> None:
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, checked = scope.get(BODY), True
        if body is None:
            body, checked = await read_body(receive, _MOST), False
        row: LedgerRow = scope[ROW]
        after = _after(one(scope, "after"))
        events = events_of(scope["headers"], body, checked=checked)
        row.items = len(events)
        if len({event.type for event in events}) == 1:
            row.subject = redact(events[0].type[:128])
        receipts = await self._events.publish(scope[CONTEXT], events, after=after)
        content = _encode({"data": receipts})
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})


def events_of(headers: Sequence[tuple[bytes, bytes]], body: bytes, *, checked: bool) -> list[Event]:
    """The events of a message in whichever mode its Content-Type says. Raises InvalidInput, MalformedRequest.

    `checked` tells that a body of JSON has passed `check_json` already.
    """
    given = next((value.decode("latin-1") for name, value in headers if name == b"content-type"), "")
    kind = bare(given)
    if kind == STRUCTURED:
        return [structured.read(body, checked=checked)]
    if kind == BATCHED:
        return structured.read_batch(body, checked=checked)
    if kind.startswith("application/cloudevents"):
        raise InvalidInput(
            f"events in the format {kind[:80]} are not taken", next_step=f"Send {STRUCTURED}, {BATCHED} or binary mode."
        )
    if not binary.is_binary(headers):
        raise InvalidInput(
            "the request is no CloudEvent: neither its Content-Type nor a ce-specversion header says so",
            next_step=f"Send {STRUCTURED}, {BATCHED}, or the attributes as ce- headers.",
        )
    return [binary.read(headers, body)]


def _after(given: str | None) -> datetime | None:
    if given is None:
        return None
    try:
        return parsed(given)
    except ValueError as error:
        words = f"{error}"
        raise InvalidInput(f"`after` {words}", fields=[FieldProblem("after", words)]) from error
