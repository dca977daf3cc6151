"""The AsyncAPI 3 document of a system's events: a channel and a message for each type, with its schema."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from .contract.schemas import EventType
from .wire.media import STRUCTURED

VERSION = "3.0.0"
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


def document(title: str, version: str, types: Sequence[EventType], *, host: str = "") -> dict[str, Any]:
    """The document. Source: AsyncAPI 3.0.0 specification, CloudEvents 1.0 JSON format for the envelope."""
    names = _names(types)
    made: dict[str, Any] = {
        "asyncapi": VERSION,
        "info": {
            "title": title,
            "version": version,
            "description": "Events are CloudEvents 1.0. They are published by POST /v1/events and followed by GET.",
        },
        "defaultContentType": STRUCTURED,
        "channels": {names[each.type]: _channel(each, names[each.type]) for each in types},
        "operations": _operations(types, names),
        "components": {
            "messages": {names[each.type]: _message(each) for each in types},
            "schemas": {"CloudEvent": ENVELOPE},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }
    if host:
        made["servers"] = {
            "http": {
                "host": host,
                "protocol": "https",
                "pathname": "/v1/events",
                "security": [{"$ref": "#/components/securitySchemes/key"}],
            }
        }
    return made


def _safe(text: str) -> str:
    """A name as the document's keys may be written."""
    return _UNSAFE.sub("_", text)


def _names(types: Sequence[EventType]) -> dict[str, str]:
    """The key of each type. Types that would share one are told apart by a digest: `a/b` and `a_b` are two channels."""
    shared = Counter(_safe(each.type) for each in types)
    return {
        each.type: _safe(each.type) if shared[_safe(each.type)] == 1 else f"{_safe(each.type)}-{_digest(each.type)}"
        for each in types
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _channel(each: EventType, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {"address": each.type, "messages": {name: {"$ref": f"#/components/messages/{name}"}}}
    if each.description:
        found["description"] = each.description
    return found


def _operations(types: Sequence[EventType], names: Mapping[str, str]) -> dict[str, Any]:
    """What the system does: it receives what a handler takes, and sends every type to those who follow."""
    found: dict[str, Any] = {}
    for each in types:
        name = names[each.type]
        place = {"channel": {"$ref": f"#/channels/{name}"}}
        for handler in each.handlers:
            found[f"handle.{_safe(handler)}.{name}"] = {"action": "receive", **place, "title": handler}
        found[f"send.{name}"] = {"action": "send", **place}
    return found


def _message(each: EventType) -> dict[str, Any]:
    message: dict[str, Any] = {
        "name": each.type,
        "contentType": STRUCTURED,
        "headers": {"type": "object", "additionalProperties": True},
    }
    if each.schema is None:
        message["payload"] = {"$ref": "#/components/schemas/CloudEvent"}
        return message
    data: Any = msgspec.json.decode(each.schema.text)
    message["x-schema-version"] = each.schema.version
    if each.schema.kind == "avro":
        message["payload"] = {"schemaFormat": "application/vnd.apache.avro;version=1.9.0", "schema": data}
    else:
        message["payload"] = _with_data(each.type, data)
    return message


def _with_data(kind: str, data: Any) -> dict[str, Any]:
    properties: Mapping[str, Any] = ENVELOPE["properties"]
    return {**ENVELOPE, "properties": {**properties, "type": {"const": kind}, "data": _moved(data)}}


def _moved(schema: Any) -> Any:
    """The schema where it is no root any more: its definitions go with it, and references find them by its own id."""
    if isinstance(schema, dict) and ("$defs" in schema or "definitions" in schema or "$ref" in schema):
        digest = hashlib.sha256(msgspec.json.encode(schema)).hexdigest()[:16]
        return {"$id": f"urn:stanchion:schema:{digest}", **schema}
    return schema


ENVELOPE: Mapping[str, Any] = {
    "type": "object",
    "required": ["specversion", "id", "source", "type"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "minLength": 1},
        "source": {"type": "string", "format": "uri-reference", "minLength": 1},
        "type": {"type": "string", "minLength": 1},
        "datacontenttype": {"type": "string"},
        "dataschema": {"type": "string", "format": "uri"},
        "subject": {"type": "string", "minLength": 1},
        "time": {"type": "string", "format": "date-time"},
        "data": {},
        "data_base64": {"type": "string", "contentEncoding": "base64"},
    },
}
