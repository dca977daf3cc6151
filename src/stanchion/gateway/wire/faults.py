"""Our problem documents in the clients' own forms of error, so that an official client raises what it should.

Each still carries our `code`, `next_step` and `trace_id`.
Source: RFC 9457; the error objects of OpenAI's and Anthropic's APIs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..contract.calls import Shape

_OPENAI: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
}
_ANTHROPIC: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "invalid_request_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
_OURS = ("next_step", "trace_id", "retry_after", "errors")


def error_document(shape: Shape, problem: Mapping[str, object]) -> dict[str, Any]:
    """The body of an error response in the form of the call."""
    return anthropic_error(problem) if shape == "messages" else openai_error(problem)


def openai_error(problem: Mapping[str, object]) -> dict[str, Any]:
    """`{"error": {message, type, code, param}}`, as OpenAI's clients read it."""
    kind = _OPENAI.get(_status(problem), "server_error")
    return {"error": {"message": _message(problem), "type": kind, **_rest(problem)}}


def anthropic_error(problem: Mapping[str, object]) -> dict[str, Any]:
    """`{"type": "error", "error": {type, message}}`, as Anthropic's clients read it."""
    kind = _ANTHROPIC.get(_status(problem), "api_error")
    written: dict[str, Any] = {
        "type": "error",
        "error": {"type": kind, "message": _message(problem), **_rest(problem)},
    }
    if "trace_id" in problem:
        written["request_id"] = problem["trace_id"]
    return written


def _status(problem: Mapping[str, object]) -> int:
    status = problem.get("status")
    return status if isinstance(status, int) else 500


def _rest(problem: Mapping[str, object]) -> dict[str, Any]:
    faults = problem.get("errors")
    first = faults[0] if isinstance(faults, list) and faults else {}
    param = first.get("path") if isinstance(first, Mapping) else None
    written: dict[str, Any] = {"code": problem.get("code", "internal_error"), "param": param}
    written.update({name: problem[name] for name in _OURS if name in problem})
    return written


def _message(problem: Mapping[str, object]) -> str:
    return str(problem.get("detail") or problem.get("title") or "the call failed")
