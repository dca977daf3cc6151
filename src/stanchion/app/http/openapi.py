"""Completes the OpenAPI document: hot routes, the credential, and the problems every operation may answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...core.errors import BY_CODE
from ...core.http.routes import Routes

if TYPE_CHECKING:
    from fastapi import FastAPI

_OPEN = ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready")
_ALWAYS = ("malformed_request", "payload_too_large", "throttled", "internal_error", "unavailable", "deadline_exceeded")
_GUARDED = ("not_authenticated", "not_allowed")
_USUAL = ("not_found", "conflict", "invalid_input")

PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457 problem document.",
    "required": ["type", "title", "status", "code", "detail", "next_step"],
    "properties": {
        "type": {"type": "string", "description": "urn:stanchion:problem:<code>"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "Stable; see the reference of errors."},
        "detail": {"type": "string"},
        "next_step": {"type": "string"},
        "trace_id": {"type": "string"},
        "instance": {"type": "string"},
        "retry_after": {"type": "number"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"path": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}


def complete(app: FastAPI, collected: Sequence[Routes]) -> None:
    """Make `app.openapi()` give the whole document, made once at the first request."""
    plain = app.openapi

    def whole() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(plain(), collected)
        return app.openapi_schema

    app.openapi = whole  # type: ignore[method-assign]  # FastAPI documents this very assignment for the purpose


def _completed(document: dict[str, Any], collected: Sequence[Routes]) -> dict[str, Any]:
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["Problem"] = PROBLEM_SCHEMA
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": "An API key or a JWT."}}
    document["security"] = [{"key": []}]
    for routes in collected:
        document["paths"].update(routes.paths)
        schemas.update(routes.schemas)
    for path, item in document["paths"].items():
        for operation in item.values():
            if isinstance(operation, dict):
                _describe(operation, path)
    return document


def _describe(operation: dict[str, Any], path: str) -> None:
    """Give the operation its problems; those it documents itself stay as they are."""
    responses = operation.setdefault("responses", {})
    if "422" in responses and "HTTPValidationError" in str(responses["422"]):
        del responses["422"]
    codes = _ALWAYS if path in _OPEN else (*_ALWAYS, *_GUARDED, *_USUAL)
    for code in codes:
        error = BY_CODE[code]
        answer = {"description": error.title, "content": {"application/problem+json": {"schema": _REF}}}
        responses.setdefault(str(error.status), answer)
    if path in _OPEN:
        operation["security"] = []


_REF = {"$ref": "#/components/schemas/Problem"}
