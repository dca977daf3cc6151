"""Every attribute name a span may carry. What is not listed is dropped: attributes hold names and numbers, no content.

The `gen_ai`, `http` and `error` names are OpenTelemetry's, of which the first are still in development.
https://opentelemetry.io/docs/specs/semconv/gen-ai/
"""

from __future__ import annotations

from enum import StrEnum


class Key(StrEnum):
    """Attribute names."""

    RESOURCE = "stanchion.resource"
    REQUEST_ID = "stanchion.request_id"
    SUBJECT = "stanchion.subject"
    VERSION = "stanchion.version"
    RUNG = "stanchion.rung"
    CACHE = "stanchion.cache"
    ITEMS = "stanchion.items"
    COST = "stanchion.cost"
    STEP = "stanchion.step"
    OPERATION = "gen_ai.operation.name"
    PROVIDER = "gen_ai.provider.name"
    REQUEST_MODEL = "gen_ai.request.model"
    RESPONSE_MODEL = "gen_ai.response.model"
    TOKENS_IN = "gen_ai.usage.input_tokens"
    TOKENS_OUT = "gen_ai.usage.output_tokens"
    TOOL = "gen_ai.tool.name"
    AGENT = "gen_ai.agent.name"
    DATA_SOURCE = "gen_ai.data_source.id"
    HTTP_METHOD = "http.request.method"
    HTTP_ROUTE = "http.route"
    HTTP_STATUS = "http.response.status_code"
    ERROR = "error.type"


ALLOWED = frozenset(Key)
