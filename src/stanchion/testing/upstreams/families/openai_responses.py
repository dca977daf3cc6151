"""OpenAI's responses, whole and as a stream of named events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..script import Call, Reply, Usage
from ..words import arguments, divide, pieces, said
from .family import Events, event


def document(call: Call, reply: Reply, usage: Usage) -> dict[str, Any]:
    """A whole response."""
    cut = reply.stop in ("length", "content_filter")
    reason = {"length": "max_output_tokens"}.get(reply.stop or "", reply.stop)
    return {
        **_head(call, reply),
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": reason} if cut else None,
        "output": [item for item, _ in _items(call, reply)],
        "usage": {
            "input_tokens": usage.tokens_in,
            "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": usage.cache_writes},
            "output_tokens": usage.tokens_out,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning},
            "total_tokens": usage.tokens_in + usage.tokens_out,
        },
    }


def story(call: Call, reply: Reply, usage: Usage) -> Events:
    """A response as events, each with its number."""
    sent: list[bytes] = []

    def tell(name: str, /, **fields: Any) -> None:
        sent.append(event({"type": name, "sequence_number": len(sent), **fields}, name))

    begun = {**_head(call, reply), "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    tell("response.created", response=begun)
    tell("response.in_progress", response=begun)
    for number, (item, parts) in enumerate(_items(call, reply)):
        for name, fields in _told(number, item, parts):
            tell(name, **fields)
    ending = len(sent)
    whole = document(call, reply, usage)
    tell(f"response.{whole['status']}", response=whole)
    return Events(sent, ending)


def _head(call: Call, reply: Reply) -> dict[str, Any]:
    body = call.body
    return {
        "id": f"resp_{call.number}",
        "object": "response",
        "created_at": int(call.at.timestamp()),
        "error": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "model": reply.model or call.model,
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "previous_response_id": body.get("previous_response_id"),
        "reasoning": body.get("reasoning") or {"effort": None, "summary": None},
        "store": body.get("store", True),
        "temperature": body.get("temperature", 1.0),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools", []),
        "top_p": body.get("top_p", 1.0),
        "truncation": "disabled",
        "metadata": body.get("metadata") or {},
    }


def _items(call: Call, reply: Reply) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """The items of the output, each with the parts in which a stream sends its words."""
    if reply.thinking:
        words = [{"type": "summary_text", "text": reply.thinking}]
        yield {"id": f"rs_{call.number}", "type": "reasoning", "summary": words}, divide(reply.thinking)
    text = said(reply)
    if text or not reply.calls:
        made = {"id": f"msg_{call.number}", "type": "message", "status": "completed", "role": "assistant"}
        yield {**made, "content": [_content(reply, text)]}, list(pieces(reply))
    for number, one in enumerate(reply.calls):
        given = arguments(one)
        made = {"id": f"fc_{call.number}_{number}", "type": "function_call", "status": "completed"}
        cut = [given[start : start + 8] for start in range(0, len(given), 8)]
        yield {**made, "call_id": one.id, "name": one.name, "arguments": given}, cut


def _content(reply: Reply, text: str) -> dict[str, Any]:
    if reply.stop == "refusal":
        return {"type": "refusal", "refusal": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _told(number: int, item: dict[str, Any], parts: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events of one item."""
    place = {"output_index": number}
    empty: dict[str, dict[str, Any]] = {
        "message": {"content": []},
        "reasoning": {"summary": []},
        "function_call": {"arguments": ""},
    }
    status = {} if item["type"] == "reasoning" else {"status": "in_progress"}
    yield "response.output_item.added", {**place, "item": {**item, **empty[item["type"]], **status}}
    within = {**place, "item_id": item["id"]}
    match item["type"]:
        case "message":
            yield from _message({**within, "content_index": 0}, item["content"][0], parts)
        case "reasoning":
            yield from _summary({**within, "summary_index": 0}, item["summary"][0], parts)
        case _:
            for part in parts:
                yield "response.function_call_arguments.delta", {**within, "delta": part}
            done = {**within, "name": item["name"], "arguments": item["arguments"]}
            yield "response.function_call_arguments.done", done
    yield "response.output_item.done", {**place, "item": item}


def _message(place: dict[str, Any], part: dict[str, Any], parts: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    refused = part["type"] == "refusal"
    key = "refusal" if refused else "text"
    extra: dict[str, Any] = {} if refused else {"logprobs": []}
    yield "response.content_part.added", {**place, "part": {**part, key: ""}}
    for words in parts:
        yield f"response.{part['type']}.delta", {**place, "delta": words, **extra}
    yield f"response.{part['type']}.done", {**place, key: part[key], **extra}
    yield "response.content_part.done", {**place, "part": part}


def _summary(place: dict[str, Any], part: dict[str, Any], parts: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "response.reasoning_summary_part.added", {**place, "part": {**part, "text": ""}}
    for words in parts:
        yield "response.reasoning_summary_text.delta", {**place, "delta": words}
    yield "response.reasoning_summary_text.done", {**place, "text": part["text"]}
    yield "response.reasoning_summary_part.done", {**place, "part": part}
