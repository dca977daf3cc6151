"""The OpenAPI document of the calls: what the providers document themselves, told here in short."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...core.errors import BY_CODE
from ..contract.calls import Shape
from .endpoints import PATHS

_NEEDED: Mapping[Shape, Mapping[str, Any]] = {
    "chat": {"messages": {"type": "array", "items": {"type": "object"}}},
    "completions": {"prompt": {}},
    "responses": {"input": {}},
    "embeddings": {"input": {}},
    "rerank": {"query": {"type": "string"}, "documents": {"type": "array", "items": {}}},
    "messages": {
        "max_tokens": {"type": "integer", "minimum": 1},
        "messages": {"type": "array", "items": {"type": "object"}},
    },
}
_WORDS: Mapping[Shape, str] = {
    "chat": "Chat completions, as OpenAI has them",
    "completions": "Completions of a text, as OpenAI has them",
    "responses": "Responses, as OpenAI has them",
    "embeddings": "Embeddings, as OpenAI has them",
    "rerank": "Documents by relevance, as Cohere and Jina have it",
    "messages": "Messages, as Anthropic has them",
}


def document() -> dict[str, Any]:
    """The path items of the calls."""
    return {path: {"post": _operation(shape)} for path, shape in PATHS.items()}


def _operation(shape: Shape) -> dict[str, Any]:
    model = {"type": "string", "description": "A model by name, or `route:NAME`."}
    body: dict[str, Any] = {
        "type": "object",
        "required": ["model", *_NEEDED[shape]],
        "properties": {"model": model, **_NEEDED[shape]},
    }
    answers: dict[str, Any] = {"application/json": {"schema": {"type": "object"}}}
    if shape not in ("embeddings", "rerank"):
        body["properties"]["stream"] = {"type": "boolean"}
        answers["text/event-stream"] = {"schema": {"type": "string"}}
    return {
        "operationId": f"gateway_{shape}",
        "tags": ["gateway"],
        "summary": _WORDS[shape],
        "description": "Fields that are not listed are those of the provider; they reach it as they are.",
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "200": {"description": "The answer, in the shape of the call", "content": answers},
            **{str(error.status): _problem(error.title) for error in BY_CODE.values()},
        },
    }


def _problem(title: str) -> dict[str, Any]:
    """An error as the shape's clients read it, with the problem document's fields beside it."""
    schema = {"type": "object", "required": ["error", "code", "detail"], "properties": {"error": {"type": "object"}}}
    return {"description": title, "content": {"application/json": {"schema": schema}}}
