"""Every attribute name a span may carry. What is not listed is dropped: attributes hold names and numbers, no content.

The `gen_ai` and `error` names are OpenTelemetry's, of which the former are still in development.
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
    LINK = "stanchion.link"
    OPERATION = "gen_ai.operation.name"
    PROVIDER = "gen_ai.provider.name"
    REQUEST_MODEL = "gen_ai.request.model"
    PROMPT = "gen_ai.prompt.name"
    TOKENS_IN = "gen_ai.usage.input_tokens"
    TOKENS_OUT = "gen_ai.usage.output_tokens"
    TOOL = "gen_ai.tool.name"
    AGENT = "gen_ai.agent.name"
    DATA_SOURCE = "gen_ai.data_source.id"
    ERROR = "error.type"


ALLOWED = frozenset(Key)
