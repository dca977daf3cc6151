"""Events as JSON documents: alone (`application/cloudevents+json`) and in batches.

Data whose type is JSON keep their bytes, as they stand in the document. Source: CloudEvents 1.0.2, JSON Event Format.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ...core.errors import FieldProblem, InvalidInput, MalformedRequest, PayloadTooLarge
from ...core.http.strict import check_json
from ..contract.event import JSON, Event, Value
from .attributes import CORE, SPECVERSION, faults_of
from .media import is_json, is_text
from .times import parsed, rendered

MOST = 1_000
_DATA = ("data", "data_base64")
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_batch = msgspec.json.Decoder(list[msgspec.Raw])
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def read(document: bytes, *, checked: bool = False) -> Event:
    """The event of a document. Raises InvalidInput with every fault's path, MalformedRequest for what is no JSON.

    `checked` tells that the document has passed `check_json` already.
    """
    if not checked:
        check_json(document)
    made, faults = _read(document, "$")
    if made is None:
        raise refused(faults)
    return made


def read_batch(document: bytes, *, checked: bool = False) -> list[Event]:
    """The events of a batch: all, or none where one is invalid. Raises as `read` does, PayloadTooLarge over 1,000."""
    if not checked:
        check_json(document)
    try:
        items = _batch.decode(document)
    except msgspec.ValidationError as error:
        raise refused([FieldProblem("$", "is no array of events")]) from error
    if len(items) > MOST:
        raise PayloadTooLarge(f"a batch of {len(items)} events; at most {MOST} are taken at once")
    read_all = [_read(item, f"$[{i}]") for i, item in enumerate(items)]
    faults = [fault for _, found in read_all for fault in found]
    if faults:
        raise refused(faults)
    return [made for made, _ in read_all if made is not None]


def refused(faults: Sequence[FieldProblem]) -> InvalidInput:
    """The error that tells of these faults."""
    first = faults[0]
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return InvalidInput(
        f"not a valid CloudEvent: {first.path} {first.message}{more}",
        next_step="Correct the attributes named in `errors`; CloudEvents 1.0 says what each may hold.",
        fields=faults[:50],
    )


def made_of(attributes: Mapping[str, Any], *, data: bytes | None, content_type: str) -> Event:
    """The event of attributes that `faults_of` has found nothing wrong with."""
    time = attributes.get("time")
    return Event(
        type=attributes["type"],
        source=attributes["source"],
        id=attributes["id"],
        subject=attributes.get("subject") or "",
        time=None if time is None else parsed(time),
        data=data,
        content_type=content_type,
        schema=attributes.get("dataschema") or "",
        extensions={k: v for k, v in attributes.items() if k not in CORE and v is not None},
    )


def _read(document: bytes | msgspec.Raw, path: str) -> tuple[Event | None, list[FieldProblem]]:
    try:
        members = _members.decode(document)
    except msgspec.ValidationError:
        return None, [FieldProblem(path, "is no event: not a JSON object")]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRequest(f"the event is not one JSON document: {error}") from error
    attributes = {name: _decode(raw) for name, raw in members.items() if name not in _DATA}
    faults = faults_of(attributes, lambda name: f"{path}.{name}")
    if any(fault.path == f"{path}.datacontenttype" for fault in faults):
        return None, faults
    content_type = attributes.get("datacontenttype")
    data, wrong = _data(members, content_type)
    faults += [FieldProblem(f"{path}.{name}", message) for name, message in wrong]
    if faults:
        return None, faults
    return made_of(attributes, data=data, content_type=content_type or JSON), []


def _data(
    members: Mapping[str, msgspec.Raw], content_type: str | None
) -> tuple[bytes | None, Sequence[tuple[str, str]]]:
    """The bytes of the event's data, and what is wrong with them."""
    encoded = members.get("data_base64")
    if encoded is not None and bytes(encoded) != b"null":
        if "data" in members:
            return None, [("data_base64", "is there beside `data`; an event has one of them")]
        return _decoded(_decode(encoded))
    plain = members.get("data")
    if plain is None:
        return None, ()
    if is_json(content_type):
        return bytes(plain), ()
    text = _decode(plain)
    if not isinstance(text, str):
        return None, [("data", f"is not a string, as data of the type {content_type} must be in JSON")]
    try:
        return text.encode(), ()
    except UnicodeEncodeError:
        return None, [("data", "holds half of a surrogate pair, which no text has")]


def _decoded(text: object) -> tuple[bytes | None, Sequence[tuple[str, str]]]:
    if isinstance(text, str):
        try:
            return base64.b64decode(text, validate=True), ()
        except (binascii.Error, ValueError):
            pass
    return None, [("data_base64", "is no base64 text")]


def document_of(event: Event) -> dict[str, Any]:
    """The event as a JSON object, ready to be encoded: data of a JSON type stand in it as they are."""
    document: dict[str, Any] = {
        "specversion": SPECVERSION,
        "id": event.id,
        "source": event.source,
        "type": event.type,
        **optional(event),
    }
    if event.data is None:
        return document
    if is_json(event.content_type) and _is_document(event.data):
        document["data"] = msgspec.Raw(event.data)
        return document
    text = _text(event.data) if is_text(event.content_type) else None
    if text is None:
        document["data_base64"] = base64.b64encode(event.data).decode()
    else:
        document["data"] = text
    return document


def optional(event: Event) -> dict[str, Value]:
    """The attributes that an event need not have, as far as it has them, and its extensions."""
    given: dict[str, Value] = {}
    if event.content_type and (event.data is not None or event.content_type != JSON):
        given["datacontenttype"] = event.content_type
    if event.schema:
        given["dataschema"] = event.schema
    if event.subject:
        given["subject"] = event.subject
    if event.time is not None:
        given["time"] = rendered(event.time)
    return {**given, **event.extensions}


def written(event: Event) -> bytes:
    """The event as a document."""
    return _encode(document_of(event))


def written_batch(events: Sequence[Event]) -> bytes:
    """The events as a batch."""
    return _encode([document_of(event) for event in events])


def _is_document(data: bytes) -> bool:
    try:
        _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _text(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
