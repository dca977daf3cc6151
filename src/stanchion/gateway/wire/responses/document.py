"""The document of a response: its items, and what it repeats of the request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...contract.calls import Usage
from ..chat.writing import written_tool
from ..conversation import Choice, Conversation, Format, Stop, Text, Thinking, Tool, ToolCall
from ..counts import responses_usage
from .request import HIDDEN

_WORDS = {"auto": "auto", "any": "required", "none": "none"}
_REASONS: Mapping[Stop, str] = {"length": "max_output_tokens", "content_filter": "content_filter"}


def response(
    asked: Conversation,
    *,
    answer_id: str,
    model: str,
    created: int,
    output: Sequence[Mapping[str, Any]] = (),
    stop: Stop | None = None,
    usage: Usage | None = None,
) -> dict[str, Any]:
    """The whole document; without `stop` it is still in progress."""
    reason = _REASONS.get(stop) if stop else None
    return {
        "id": answer_id,
        "object": "response",
        "created_at": created,
        "status": "in_progress" if stop is None else "incomplete" if reason else "completed",
        "error": None,
        "incomplete_details": {"reason": reason} if reason else None,
        "instructions": None,
        "max_output_tokens": asked.most_tokens,
        "metadata": asked.extra.get("metadata") or {},
        "model": model,
        "output": list(output),
        "parallel_tool_calls": asked.choice is None or asked.choice.parallel is not False,
        "previous_response_id": None,
        "reasoning": {"effort": asked.effort, "summary": None},
        "store": False,
        "temperature": asked.temperature,
        "text": {"format": _format(asked.format)},
        "tool_choice": _choice(asked.choice),
        "tools": [_tool(tool) for tool in asked.tools],
        "top_p": asked.top_p,
        "truncation": "disabled",
        "usage": None if usage is None else responses_usage(usage),
        "user": asked.user,
    }


def message(item_id: str, content: Sequence[Mapping[str, Any]], *, status: str = "completed") -> dict[str, Any]:
    """An item of what the model said."""
    return {"id": item_id, "type": "message", "role": "assistant", "status": status, "content": list(content)}


def said(text: str, logprobs: Iterable[Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """Content of a message."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": tokens(logprobs)}


def call(item_id: str, made: ToolCall, *, status: str = "completed") -> dict[str, Any]:
    """An item of a call that the model wants made."""
    return {
        "id": item_id,
        "type": "function_call",
        "call_id": made.id,
        "name": made.name,
        "arguments": made.arguments,
        "status": status,
    }


def reasoning(item_id: str, thought: Thinking) -> dict[str, Any]:
    """An item of what the model thought; its signature goes where OpenAI has its encrypted thoughts."""
    summary = [{"type": "summary_text", "text": thought.text}] if thought.text else []
    item: dict[str, Any] = {"id": item_id, "type": "reasoning", "summary": summary}
    if thought.signature:
        item["encrypted_content"] = thought.signature
    return item


def items(
    answer_id: str, parts: Sequence[Text | Thinking | ToolCall], stop: Stop, logprobs: Any
) -> list[dict[str, Any]]:
    """The items of a whole answer, in its order."""
    made: list[dict[str, Any]] = []
    for place, part in enumerate(parts):
        if isinstance(part, ToolCall):
            made.append(call(f"fc_{answer_id}_{place}", part))
        elif isinstance(part, Thinking):
            made.append(reasoning(thought_id(answer_id, place, hidden=part.redacted), part))
        elif part.text:
            refused = stop == "refusal"
            content = {"type": "refusal", "refusal": part.text} if refused else said(part.text, logprobs)
            made.append(message(f"msg_{answer_id}_{place}", [content]))
            logprobs = None
    return made


def thought_id(answer_id: str, place: int, *, hidden: bool) -> str:
    """The id of a reasoning item; it tells thoughts that were hidden from those that are merely not shown."""
    return f"{HIDDEN if hidden else 'rs_'}{answer_id}_{place}"


def tokens(logprobs: Iterable[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    """Log probabilities of tokens; chat completions may have null where a list of bytes belongs here."""
    return [
        {
            "token": each.get("token", ""),
            "logprob": each.get("logprob", 0.0),
            "bytes": each.get("bytes") or [],
            "top_logprobs": [{**top, "bytes": top.get("bytes") or []} for top in each.get("top_logprobs") or ()],
        }
        for each in logprobs or ()
    ]


def _tool(tool: Tool) -> dict[str, Any]:
    return {"type": "function", "parameters": None, "strict": None, **written_tool(tool)}


def _choice(choice: Choice | None) -> Any:
    if choice is None:
        return "auto"
    if choice.mode == "named":
        return {"type": "function", "name": choice.name}
    return _WORDS[choice.mode]


def _format(form: Format | None) -> dict[str, Any]:
    if form is None:
        return {"type": "text"}
    if form.schema is None:
        return {"type": "json_object"}
    return {"type": "json_schema", "name": form.name or "answer", "schema": form.schema, "strict": form.strict}
