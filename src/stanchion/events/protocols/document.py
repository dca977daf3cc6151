"""The OpenAPI document of the routes that do not document themselves."""

from __future__ import annotations

from typing import Any

from ...core.errors import BY_CODE
from ..describing import ENVELOPE
from ..wire.media import BATCHED, STRUCTURED
from . import publishing, webhooks

_RECEIPTS = {
    "type": "object",
    "required": ["data"],
    "properties": {
        "data": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["source", "id", "state", "position"],
                "properties": {
                    "source": {"type": "string"},
                    "id": {"type": "string"},
                    "state": {"enum": ["stored", "scheduled"]},
                    "position": {"type": "string"},
                },
            },
        }
    },
}


def paths() -> dict[str, Any]:
    """The path items."""
    return {
        publishing.PATH: {"post": _publish(), "get": _follow()},
        webhooks.PATH: {"post": _incoming()},
    }


def _publish() -> dict[str, Any]:
    event = {"$ref": "#/components/schemas/CloudEvent"}
    return {
        "operationId": "publish_events",
        "tags": ["events"],
        "summary": "Publish events: one, a batch of up to 1,000, or one in binary mode",
        "description": "Answered once every event is stored: all of them or none. In binary mode the attributes are "
        "`ce-` headers and the body is the data. 429 with Retry-After where a consumer is too far behind.",
        "parameters": [_parameter("after", "Keep the events until this moment (RFC 3339).")],
        "requestBody": {
            "required": True,
            "content": {
                STRUCTURED: {"schema": event},
                BATCHED: {"schema": {"type": "array", "items": event, "maxItems": 1_000}},
            },
        },
        "responses": _answers("application/json", _RECEIPTS),
    }


def _follow() -> dict[str, Any]:
    return {
        "operationId": "follow_events",
        "tags": ["events"],
        "summary": "Follow events as they come, as server-sent events",
        "description": "Each event has its position as `id`; a browser goes on there by itself. A stream ends with the "
        "time that a request may take, and is opened anew.",
        "parameters": [
            {
                **_parameter("type", "Event types, or patterns such as `order.*`."),
                "schema": {"type": "array", "items": {"type": "string"}},
            },
            _parameter("source", "Only events of this source."),
            _parameter("subject", "Only events of this subject."),
            _parameter("since", "Begin behind this position instead of now."),
            {**_parameter("Last-Event-ID", "Goes before `since`."), "in": "header"},
        ],
        "responses": _answers("text/event-stream", {"type": "string"}),
    }


def _incoming() -> dict[str, Any]:
    return {
        "operationId": "receive_webhook",
        "tags": ["events"],
        "summary": "Take a signed message of another system",
        "description": "Signed as Standard Webhooks has it, with the webhook's secret; no key is needed.",
        "security": [],
        "parameters": [
            {"name": "tenant", "in": "path", "required": True, "schema": {"type": "string"}},
            {"name": "hook", "in": "path", "required": True, "schema": {"type": "string"}},
            *(
                {**_parameter(f"webhook-{name}", words), "in": "header", "required": True}
                for name, words in (
                    ("id", "The message's id."),
                    ("timestamp", "Seconds since the epoch."),
                    ("signature", "`v1,` and base64, several by space."),
                )
            ),
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": {}}}},
        "responses": _answers("application/json", _RECEIPTS),
    }


def _parameter(name: str, words: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": words, "schema": {"type": "string"}}


def _answers(media: str, schema: Any) -> dict[str, Any]:
    problem = {"content": {"application/problem+json": {"schema": {"type": "object"}}}}
    return {
        "200": {"description": "Done", "content": {media: {"schema": schema}}},
        **{str(error.status): {"description": error.title, **problem} for error in BY_CODE.values()},
    }


def schemas() -> dict[str, Any]:
    """The component schemas."""
    return {"CloudEvent": dict(ENVELOPE)}
