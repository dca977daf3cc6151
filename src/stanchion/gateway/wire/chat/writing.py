"""A conversation as the messages and tools of chat completions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..conversation import (
    Audio,
    Choice,
    Conversation,
    Document,
    Format,
    Image,
    Part,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)
from ..media import data_url, url_of
from ..reading import wrong
from .form import written_call

_WORDS = {"auto": "auto", "any": "required", "none": "none"}


def written_messages(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """The turns as messages. Raises InvalidInput for a part that chat completions have no place for."""
    return [message for place, turn in enumerate(turns) for message in _messages(turn, f"$.messages[{place}]")]


def written_tools(asked: Conversation) -> dict[str, Any]:
    """Tools, their choice and the form of the answer."""
    written: dict[str, Any] = {}
    if asked.tools:
        written["tools"] = [{"type": "function", "function": written_tool(tool)} for tool in asked.tools]
        if asked.choice is not None:
            written["tool_choice"] = _choice(asked.choice)
            if asked.choice.parallel is not None:
                written["parallel_tool_calls"] = asked.choice.parallel
    if asked.format is not None:
        written["response_format"] = _format(asked.format)
    return written


def _messages(turn: Turn, path: str) -> Iterable[dict[str, Any]]:
    if turn.role == "assistant":
        return [_assistant(turn, path)]
    # What tools gave must come right after the calls, before anything else that the user says.
    results = [_result(part, path) for part in turn.parts if isinstance(part, ToolResult)]
    said = [part for part in turn.parts if not isinstance(part, ToolResult)]
    if not said and results:
        return results
    return [*results, {"role": turn.role, "content": _content(said, path)}]


def _assistant(turn: Turn, path: str) -> dict[str, Any]:
    """An assistant's message. Its thoughts are left out: their signatures mean nothing to another provider."""
    said = [part for part in turn.parts if not isinstance(part, Thinking | ToolCall)]
    calls = [written_call(part) for part in turn.parts if isinstance(part, ToolCall)]
    message: dict[str, Any] = {"role": "assistant", "content": _content(said, path) if said or not calls else None}
    if calls:
        message["tool_calls"] = calls
    return message


def _content(parts: Sequence[Part], path: str) -> str | list[dict[str, Any]]:
    if not parts:
        return ""
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    return [_part(part, f"{path}.content[{place}]") for place, part in enumerate(parts)]


def _part(part: Part, path: str) -> dict[str, Any]:
    match part:
        case Text():
            return {"type": "text", "text": part.text}
        case Image():
            held = {"url": url_of(part)} | ({"detail": part.detail} if part.detail else {})
            return {"type": "image_url", "image_url": held}
        case Audio():
            return {"type": "input_audio", "input_audio": {"data": part.data, "format": part.format}}
        case Document():
            file = {"file_data": data_url(part.media_type, part.data)} | ({"filename": part.name} if part.name else {})
            return {"type": "file", "file": file}
        case _:
            raise wrong(path, "An upstream of OpenAI's form has no place for this part here")


def _result(result: ToolResult, path: str) -> dict[str, Any]:
    if any(not isinstance(part, Text) for part in result.parts):
        raise wrong(path, "An upstream of OpenAI's form takes text only as what a tool gave")
    return {"role": "tool", "tool_call_id": result.id, "content": _content(result.parts, path)}


def written_tool(tool: Tool) -> dict[str, Any]:
    """A function's own fields."""
    written: dict[str, Any] = {"name": tool.name}
    if tool.description:
        written["description"] = tool.description
    if tool.schema:
        written["parameters"] = tool.schema
    if tool.strict is not None:
        written["strict"] = tool.strict
    return written


def _choice(choice: Choice) -> Any:
    if choice.mode == "named":
        return {"type": "function", "function": {"name": choice.name}}
    return _WORDS[choice.mode]


def _format(form: Format) -> dict[str, Any]:
    if form.schema is None:
        return {"type": "json_object"}
    schema: dict[str, Any] = {"name": form.name or "answer", "schema": form.schema}
    if form.strict is not None:
        schema["strict"] = form.strict
    return {"type": "json_schema", "json_schema": schema}
