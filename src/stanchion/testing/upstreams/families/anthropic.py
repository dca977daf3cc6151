"""Anthropic's Messages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ..script import Call, Kind, Reply, Stop, Usage
from ..words import arguments, divide, parsed, pieces, said, text_of
from . import anthropic_requests
from .family import SSE, Events, Family, Refusal, SigningKey, Target, event

REASONS: dict[Stop, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "refusal": "refusal",
}
TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class Anthropic(Family):
    """`/v1/messages` and `/v1/messages/count_tokens`."""

    stream_type = SSE

    def target(self, method: str, path: str) -> Target | None:
        if method == "POST" and path.endswith("/v1/messages"):
            return Target("messages")
        if method == "POST" and path.endswith("/v1/messages/count_tokens"):
            return Target("tokens", stream=False)
        return Target("models", model="", stream=False) if method == "GET" and path.endswith("/v1/models") else None

    def prompt(self, kind: Kind, body: Any) -> str:
        return text_of(body["messages"][-1].get("content"))

    def problem(self, call: Call) -> str:
        if "anthropic-version" not in call.headers:
            return "anthropic-version: header is required"
        return "" if call.kind == "models" else anthropic_requests.problem(call.kind, call.body)

    def whole(self, call: Call, reply: Reply, usage: Usage) -> Any:
        if call.kind == "tokens":
            return {"input_tokens": usage.tokens_in}
        if call.kind == "models":
            name = reply.model or "scripted"
            made = {"type": "model", "id": name, "display_name": name, "created_at": "2025-01-01T00:00:00Z"}
            return {"data": [made], "has_more": False, "first_id": name, "last_id": name}
        return {
            **_head(call, reply),
            "content": [block for block, _ in _blocks(reply)],
            "stop_reason": REASONS[_stop(reply)],
            "usage": _usage(usage),
        }

    def events(self, call: Call, reply: Reply, usage: Usage) -> Events:
        begun = {
            **_head(call, reply),
            "content": [],
            "stop_reason": None,
            "usage": _usage(replace(usage, tokens_out=1, reasoning=0)),
        }
        sent = [_event("message_start", message=begun)]
        for number, (block, deltas) in enumerate(_blocks(reply)):
            sent.append(_event("content_block_start", index=number, content_block=_empty(block)))
            if not number:
                sent.append(_event("ping"))
            sent += [_event("content_block_delta", index=number, delta=delta) for delta in deltas]
            sent.append(_event("content_block_stop", index=number))
        ending = len(sent)
        delta = {"stop_reason": REASONS[_stop(reply)], "stop_sequence": None}
        sent.append(_event("message_delta", delta=delta, usage=_made(usage)))
        return Events([*sent, _event("message_stop")], ending)

    def refusal(self, status: int, words: str) -> Refusal:
        error = {"type": TYPES.get(status, "api_error"), "message": words}
        return Refusal(status, {"type": "error", "error": error, "request_id": "req_scripted"})

    def failure(self, words: str) -> bytes:
        return _event("error", error={"type": "overloaded_error", "message": words})

    def malformed(self) -> bytes:
        return b'event: content_block_delta\ndata: {"type": "content_block_delta", "ind\n\n'

    def authorised(self, call: Call, key: str | SigningKey) -> bool:
        return call.headers.get("x-api-key") == key or call.headers.get("authorization") == f"Bearer {key}"


def _stop(reply: Reply) -> Stop:
    return reply.stop or ("tool_calls" if reply.calls else "stop")


def _event(name: str, /, **fields: Any) -> bytes:
    return event({"type": name, **fields}, name)


def _head(call: Call, reply: Reply) -> dict[str, Any]:
    return {
        "id": f"msg_{call.number}",
        "type": "message",
        "role": "assistant",
        "model": reply.model or call.model,
        "stop_sequence": None,
    }


def _usage(usage: Usage) -> dict[str, Any]:
    """Here the tokens of the cache are not among the input's."""
    return {
        "input_tokens": usage.tokens_in - usage.cached - usage.cache_writes,
        "cache_creation_input_tokens": usage.cache_writes,
        "cache_read_input_tokens": usage.cached,
        **_made(usage),
        "service_tier": "standard",
    }


def _made(usage: Usage) -> dict[str, Any]:
    thought = {"output_tokens_details": {"thinking_tokens": usage.reasoning}} if usage.reasoning else {}
    return {"output_tokens": usage.tokens_out, **thought}


def _blocks(reply: Reply) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """The blocks of the content, each with the deltas of a stream."""
    if reply.thinking:
        signature = reply.signature or "c2NyaXB0ZWQ="
        deltas = [{"type": "thinking_delta", "thinking": word} for word in divide(reply.thinking)]
        signed = {"type": "signature_delta", "signature": signature}
        yield {"type": "thinking", "thinking": reply.thinking, "signature": signature}, [*deltas, signed]
    text = said(reply)
    if text:
        yield {"type": "text", "text": text}, [{"type": "text_delta", "text": word} for word in pieces(reply)]
    for one in reply.calls:
        given = arguments(one)
        deltas = [
            {"type": "input_json_delta", "partial_json": given[start : start + 8]} for start in range(0, len(given), 8)
        ]
        block = {"type": "tool_use", "id": one.id, "name": one.name, "input": parsed(one)}
        yield block, [{"type": "input_json_delta", "partial_json": ""}, *deltas]


def _empty(block: dict[str, Any]) -> dict[str, Any]:
    return {
        **block,
        **{key: {} if key == "input" else "" for key in ("text", "thinking", "signature", "input") if key in block},
    }
