"""Feast's `POST /get-online-features`: the same body and the same answer, so that its clients need no change."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from starlette.routing import Route

from ...core.context import Context
from ...core.http import hot_route
from ...core.telemetry.contract import LedgerRow
from ..contract import Features
from .answers import Column, Question, answered

PATH = "/get-online-features"


class Ask(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The body: exactly one of `feature_service` and `features`; entities and the request's fields as columns."""

    entities: dict[str, list[Any]]
    feature_service: str | None = None
    features: list[str] = []
    full_feature_names: bool = False
    request_context: dict[str, list[Any]] = {}


def route(features: Features) -> Route:
    """The route over a gated feature store."""

    async def online(ctx: Context, row: LedgerRow, ask: Ask) -> object:
        columns = {**ask.entities, **ask.request_context}
        question = Question(ask.feature_service, ask.features, columns, ask.full_feature_names)
        return _told(await answered(features, ctx, question))

    return hot_route(PATH, msgspec.json.Decoder(Ask), online)


def _told(columns: list[Column]) -> dict[str, object]:
    results = [
        {"values": each.values, "statuses": each.statuses, "event_timestamps": [_time(time) for time in each.times]}
        for each in columns
    ]
    return {"metadata": {"feature_names": [each.name for each in columns]}, "results": results}


def _time(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


_STRINGS = {"type": "array", "items": {"type": "string"}}
_COLUMNS = {"type": "object", "additionalProperties": {"type": "array", "items": {}}}
SCHEMAS: dict[str, Any] = {
    "OnlineFeaturesRequest": {
        "type": "object",
        "required": ["entities"],
        "additionalProperties": False,
        "properties": {
            "feature_service": {"type": "string", "description": "A declared feature service."},
            "features": {**_STRINGS, "description": "In place of it: features as `view:feature`."},
            "entities": {**_COLUMNS, "description": "Entity keys and request-time fields, one column for each."},
            "request_context": {**_COLUMNS, "description": "Request-time fields, if not among the entities."},
            "full_feature_names": {"type": "boolean", "default": False, "description": "Names as `view__feature`."},
        },
    },
    "OnlineFeatures": {
        "type": "object",
        "required": ["metadata", "results"],
        "properties": {
            "metadata": {"type": "object", "properties": {"feature_names": _STRINGS}},
            "results": {
                "type": "array",
                "description": "One for each name, in order; each holds one entry for each row.",
                "items": {
                    "type": "object",
                    "properties": {
                        "values": {"type": "array", "items": {}},
                        "statuses": {
                            "type": "array",
                            "items": {"enum": ["PRESENT", "NOT_FOUND", "OUTSIDE_MAX_AGE"]},
                        },
                        "event_timestamps": {"type": "array", "items": {"type": "string", "format": "date-time"}},
                    },
                },
            },
        },
    },
}
PATHS: dict[str, Any] = {
    PATH: {
        "post": {
            "tags": ["features"],
            "summary": "Online features in Feast's shape",
            "description": "Values past their view's time to live are withheld and told as OUTSIDE_MAX_AGE.",
            "operationId": "get_online_features",
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/OnlineFeaturesRequest"}}},
            },
            "responses": {
                "200": {
                    "description": "The columns.",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/OnlineFeatures"}}},
                }
            },
        }
    }
}
