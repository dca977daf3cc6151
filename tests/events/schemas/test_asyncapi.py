"""The AsyncAPI document holds to the specification: by rules read from its text, and by the official JSON schema.

The official schema is not part of this repository. Where `STANCHION_ASYNCAPI_SCHEMA` names its file (`3.0.0.json` of
the npm package `@asyncapi/specs`), the document is held to it as well; without, only the rules below are asked.
"""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stanchion.events import EventType, SchemaKind, SchemaVersion
from stanchion.events.describing import document

OFFICIAL = "STANCHION_ASYNCAPI_SCHEMA"
_KEY = re.compile(r"[A-Za-z0-9._-]+")
_FIXED = {"asyncapi", "id", "info", "servers", "defaultContentType", "channels", "operations", "components"}
_CHANNEL = {"address", "messages", "title", "summary", "description", "servers", "parameters", "tags", "bindings"}
_OPERATION = {"action", "channel", "title", "summary", "description", "security", "tags", "bindings", "messages"}
_MESSAGE = {"name", "contentType", "headers", "payload", "title", "summary", "description", "correlationId", "tags"}
Document = dict[str, Any]


def described(name: str, schema: object, kind: SchemaKind = "json") -> EventType:
    text = json.dumps(schema)
    version = SchemaVersion(name, 2, kind, text, "0" * 64, datetime(2026, 1, 2, tzinfo=UTC), "key:ada")
    return EventType(name, f"Data of {name}", version, ("extract", "audit-trail"))


def whole() -> Document:
    """A document with every kind of type that the catalogue can hold."""
    order = {
        "type": "object",
        "$defs": {"sum": {"type": "number", "minimum": 0}},
        "properties": {"total": {"$ref": "#/$defs/sum"}, "lines": {"type": "array", "prefixItems": [{}]}},
        "required": ["total"],
    }
    record = {"type": "record", "name": "Reading", "fields": [{"name": "celsius", "type": "double"}]}
    types = [
        described("order.placed", order),
        described("reading", record, "avro"),
        described("anything", True),
        EventType("seen/once", handlers=("extract",)),
        EventType("seen_once"),
    ]
    return document("Shop", "1.2.0", types, host="events.example.com")


def faults(made: Document) -> Iterator[str]:
    """What the text of AsyncAPI 3.0.0 forbids, as far as this document could break it."""
    if made.get("asyncapi") != "3.0.0":
        yield "asyncapi names no version of the specification"
    if not {"title", "version"} <= made.get("info", {}).keys():
        yield "info needs title and version"
    yield from (f"{name} is no field of the document" for name in made.keys() - _FIXED if not name.startswith("x-"))
    yield from _servers(made)
    for kind in ("messages", "schemas", "securitySchemes"):
        names = made["components"].get(kind, {})
        yield from (f"{name} is no component's key" for name in names if _KEY.fullmatch(name) is None)
    yield from _channels(made)
    yield from _operations(made)
    for name, message in made["components"]["messages"].items():
        yield from (f"{each} is no field of {name}" for each in _unknown(message, _MESSAGE))
        payload = message["payload"]
        if isinstance(payload, dict) and "schemaFormat" in payload and "schema" not in payload:
            yield f"the payload of {name} names a format and holds no schema"
    yield from _references(made, made)


def _servers(made: Document) -> Iterator[str]:
    for name, server in made.get("servers", {}).items():
        if not {"host", "protocol"} <= server.keys() or "/" in server.get("host", ""):
            yield f"the server {name} needs a protocol and a host without a path"
    for name, scheme in made["components"].get("securitySchemes", {}).items():
        if scheme.get("type") == "http" and "scheme" not in scheme:
            yield f"{name} names no HTTP scheme"


def _channels(made: Document) -> Iterator[str]:
    for name, channel in made["channels"].items():
        yield from (f"{each} is no field of the channel {name}" for each in _unknown(channel, _CHANNEL))
        if not channel.get("address") or not channel.get("messages"):
            yield f"the channel {name} needs an address and messages"


def _operations(made: Document) -> Iterator[str]:
    for name, operation in made["operations"].items():
        yield from (f"{each} is no field of the operation {name}" for each in _unknown(operation, _OPERATION))
        if operation.get("action") not in ("send", "receive"):
            yield f"{name} neither sends nor receives"
        if not str(operation.get("channel", {}).get("$ref", "")).startswith("#/channels/"):
            yield f"{name} must name a channel of the document itself"


def _unknown(found: Document, fields: set[str]) -> set[str]:
    return {name for name in found.keys() - fields if not name.startswith("x-") and name != "$ref"}


def _references(value: Any, root: Document) -> Iterator[str]:
    """References that lead nowhere. What has an `$id` of its own is a document by itself, with its own root."""
    if isinstance(value, dict):
        root = value if "$id" in value else root
        reference = value.get("$ref")
        if isinstance(reference, str) and not _found(reference, root):
            yield f"{reference} leads nowhere"
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _references(each, root)


def _found(reference: str, root: Any) -> bool:
    if not reference.startswith("#/"):
        return False
    for step in reference[2:].split("/"):
        if not isinstance(root, dict) or (step := step.replace("~1", "/").replace("~0", "~")) not in root:
            return False
        root = root[step]
    return True


def _without(path: str) -> Callable[[Document], object]:
    def change(made: Document) -> object:
        *steps, last = path.split(" ")
        for step in steps:
            made = made[step]
        return made.pop(last)

    return change


def _with(path: str, value: object) -> Callable[[Document], object]:
    def change(made: Document) -> object:
        *steps, last = path.split(" ")
        for step in steps:
            made = made[step]
        made[last] = value
        return None

    return change


BROKEN = {
    "version": _with("asyncapi", "2.6.0"),
    "title": _without("info title"),
    "action": _with("operations send.reading action", "publish"),
    "channel": _without("operations send.reading channel"),
    "server": _without("servers http host"),
    "key": _with("components messages a*b", {"payload": {}}),
    "field": _with("channels reading subscribe", {}),
    "scheme": _without("components securitySchemes key scheme"),
}


def official() -> Any:
    """A validator of the official schema; skips where its file is not there."""
    place = os.environ.get(OFFICIAL, "")
    if not Path(place).is_file():
        pytest.skip(f"{OFFICIAL} names no file")
    jsonschema = pytest.importorskip("jsonschema")
    return jsonschema.Draft7Validator(json.loads(Path(place).read_text(encoding="utf-8")))


def test_the_document_holds_to_the_specification() -> None:
    assert list(faults(whole())) == []


def test_types_that_differ_only_in_unsafe_characters_are_channels_of_their_own() -> None:
    made = whole()
    assert len(made["channels"]) == len(made["components"]["messages"]) == 5
    assert {each["address"] for each in made["channels"].values()} >= {"seen/once", "seen_once"}
    assert sum(name.startswith("send.") for name in made["operations"]) == 5


def test_a_schemas_own_references_are_found_where_it_now_stands() -> None:
    data = whole()["components"]["messages"]["order.placed"]["payload"]["properties"]["data"]
    assert data["$id"].startswith("urn:stanchion:schema:")
    assert list(_references(data, {})) == []


@pytest.mark.parametrize("name", BROKEN)
def test_the_rules_find_what_is_broken(name: str) -> None:
    made = copy.deepcopy(whole())
    BROKEN[name](made)
    assert list(faults(made)) != []


def test_the_official_schema_takes_the_document() -> None:
    assert [f"{each.json_path}: {each.message}" for each in official().iter_errors(whole())] == []


# The official schema does not look at the keys of components; the specification does.
@pytest.mark.parametrize("name", sorted(BROKEN.keys() - {"key"}))
def test_the_official_schema_finds_what_is_broken(name: str) -> None:
    validator = official()
    made = copy.deepcopy(whole())
    BROKEN[name](made)
    assert not validator.is_valid(made)
