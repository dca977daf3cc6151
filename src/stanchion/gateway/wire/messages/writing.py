"""A conversation as the request of Anthropic's messages."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import msgspec

from ..conversation import (
    GEMINI,
    Audio,
    Choice,
    Conversation,
    Document,
    Image,
    Part,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)
from ..reading import wrong

_EFFORTS = {"none": "low", "minimal": "low"}
_ANY_OBJECT = {"type": "object", "properties": {}}


def written_turns(turns: Sequence[Turn]) -> dict[str, Any]:
    """`system` and `messages`. Instructions are gathered at the head, wherever they stood: not every model takes them
    between the turns.
    """
    system = [
        written_text(part) for turn in turns if turn.role == "system" for part in turn.parts if isinstance(part, Text)
    ]
    messages = []
    for place, turn in enumerate(turns):
        if turn.role == "system":
            continue
        blocks = _blocks(turn, f"$.messages[{place}].content")
        if blocks:
            messages.append({"role": turn.role, "content": blocks})
    return {"messages": messages} | ({"system": system} if system else {})


def written_tools(asked: Conversation) -> dict[str, Any]:
    """Tools and their choice."""
    if not asked.tools:
        return {}
    written: dict[str, Any] = {"tools": [_tool(tool) for tool in asked.tools]}
    if asked.choice is not None:
        written["tool_choice"] = _choice(asked.choice)
    return written


def written_output(asked: Conversation) -> dict[str, Any]:
    """The form of the answer, the effort and the thinking. Raises InvalidInput for JSON without a schema."""
    output: dict[str, Any] = {}
    if asked.effort is not None:
        output["effort"] = _EFFORTS.get(asked.effort, asked.effort)
    if asked.format is not None:
        if asked.format.schema is None:
            raise wrong("$.response_format", "An upstream of messages gives JSON by a schema only; use json_schema")
        output["format"] = {"type": "json_schema", "schema": asked.format.schema}
    written: dict[str, Any] = {"output_config": output} if output else {}
    if asked.thinking_tokens is not None:
        budget = asked.thinking_tokens
        written["thinking"] = {"type": "enabled", "budget_tokens": budget} if budget else {"type": "disabled"}
    return written


def written_text(part: Text) -> dict[str, Any]:
    """A text block."""
    return {"type": "text", "text": part.text} | ({"cache_control": part.cache} if part.cache else {})


def _blocks(turn: Turn, path: str) -> list[dict[str, Any]]:
    # What tools gave must stand first in a user's turn.
    ordered = sorted(turn.parts, key=lambda part: not isinstance(part, ToolResult))
    blocks = []
    for place, part in enumerate(ordered):
        if isinstance(part, Text) and not part.text:
            continue  # an empty block is refused
        if isinstance(part, Thinking) and (not part.signature or part.signature.startswith(GEMINI)):
            continue  # another provider's thoughts have no signature or a marked one, and neither is taken
        blocks.append(_block(part, f"{path}[{place}]"))
    return blocks


def _block(part: Part, path: str) -> dict[str, Any]:
    match part:
        case Text():
            return written_text(part)
        case Image():
            return _image(part)
        case Document():
            return _document(part, path)
        case Thinking():
            return written_thinking(part)
        case ToolCall():
            return written_call(part, path)
        case ToolResult():
            content = [written_text(p) if isinstance(p, Text) else _image(p) for p in part.parts]
            written: dict[str, Any] = {"type": "tool_result", "tool_use_id": part.id, "content": content}
            return written | ({"is_error": True} if part.failed else {})
        case Audio():
            raise wrong(path, "An upstream of messages takes no sound")


def _image(part: Image) -> dict[str, Any]:
    if part.url:
        return {"type": "image", "source": {"type": "url", "url": part.url}}
    return {"type": "image", "source": {"type": "base64", "media_type": part.media_type, "data": part.data}}


def _document(part: Document, path: str) -> dict[str, Any]:
    source = {"type": "base64", "media_type": part.media_type, "data": part.data}
    if part.media_type == "text/plain":
        try:
            text = base64.b64decode(part.data, validate=True).decode()
        except ValueError as error:
            raise wrong(path, "Expected a text in UTF-8 as base64") from error
        source = {"type": "text", "media_type": "text/plain", "data": text}
    return {"type": "document", "source": source} | ({"title": part.name} if part.name else {})


def written_thinking(part: Thinking) -> dict[str, Any]:
    """A block of thinking, as requests and answers have it."""
    if part.redacted:
        return {"type": "redacted_thinking", "data": part.signature}
    return {"type": "thinking", "thinking": part.text, "signature": part.signature}


def written_call(call: ToolCall, path: str) -> dict[str, Any]:
    """A block of a tool call, its arguments byte for byte. Raises InvalidInput where they are no JSON object."""
    arguments = call.arguments.strip() or "{}"
    try:
        msgspec.json.decode(arguments, type=dict[str, msgspec.Raw])
    except msgspec.MsgspecError as error:
        raise wrong(path, "Expected the arguments of a tool call as a JSON object") from error
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": msgspec.Raw(arguments.encode())}


def _tool(tool: Tool) -> dict[str, Any]:
    written: dict[str, Any] = {"name": tool.name, "input_schema": tool.schema or _ANY_OBJECT}
    if tool.description:
        written["description"] = tool.description
    if tool.strict is not None:
        written["strict"] = tool.strict
    return written


def _choice(choice: Choice) -> dict[str, Any]:
    kind = "tool" if choice.mode == "named" else choice.mode
    written: dict[str, Any] = {"type": kind}
    if choice.mode == "named":
        written["name"] = choice.name
    if choice.parallel is not None and choice.mode != "none":
        written["disable_parallel_tool_use"] = not choice.parallel
    return written
