"""Requests of Anthropic's messages, read into a conversation."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from ..conversation import (
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
from ..media import image_of
from ..reading import Fields, wrong

_OWN = "This is known to Anthropic only; ask an upstream that takes messages"
_EFFORTS = ("low", "medium", "high", "xhigh", "max")


def conversation_of(fields: Fields) -> Conversation:
    """The whole request. Raises InvalidInput with the field's path."""
    fields.ignore("model")
    most = fields.whole("max_tokens", 1)
    if most is None:
        raise wrong(fields.at("max_tokens"), "Expected a whole number; the field is required")
    if fields.items("messages") is None:
        raise wrong(fields.at("messages"), "Expected a list of messages; the field is required")
    system = fields.parts("system", Text, _text)
    turns = tuple(_turn(each) for each in fields.objects("messages"))
    output = fields.inner("output_config")
    metadata = fields.inner("metadata")
    effort = output.choice("effort", _EFFORTS) if output else None
    form = _format(output.inner("format")) if output else None
    return Conversation(
        turns=(Turn("system", system), *turns) if system else turns,
        tools=tuple(_tool(each) for each in fields.objects("tools")),
        choice=_choice(fields.inner("tool_choice")),
        format=form,
        most_tokens=most,
        temperature=fields.number("temperature", 0, 1),
        top_p=fields.number("top_p", 0, 1),
        top_k=fields.whole("top_k"),
        stop=fields.texts("stop_sequences"),
        effort=effort,
        thinking_tokens=_thinking(fields.inner("thinking")),
        user=metadata.text("user_id") if metadata else None,
        stream=bool(fields.flag("stream")),
        usage_in_stream=True,
        extra=fields.rest(),
    )


def _turn(message: Fields) -> Turn:
    role = message.choice("role", ("user", "assistant", "system"))
    parts = message.parts("content", Text, _part)
    if role == "user":
        return Turn("user", parts)
    if role == "assistant":
        return Turn("assistant", parts)
    if role == "system":
        return Turn("system", parts)
    raise wrong(message.at("role"), "The field is required")


def _part(block: Fields) -> Part:
    kind = block.needed("type")
    if kind == "text":
        return _text(block)
    if kind == "image":
        return _image(block)
    if kind == "document":
        return _document(block)
    if kind == "tool_use":
        arguments = block.mapping("input") or {}
        return ToolCall(block.needed("id"), block.needed("name"), msgspec.json.encode(arguments).decode())
    if kind == "tool_result":
        content = block.parts("content", Text, _given)
        return ToolResult(block.needed("tool_use_id"), content, bool(block.flag("is_error")))
    if kind == "thinking":
        return Thinking(block.needed("thinking"), block.text("signature") or "")
    if kind == "redacted_thinking":
        return Thinking("", block.needed("data"), redacted=True)
    raise wrong(block.at("type"), _OWN)


def _text(block: Fields) -> Text:
    block.choice("type", ("text",))
    return Text(block.needed("text"), cache=block.mapping("cache_control"))


def _given(block: Fields) -> Text | Image:
    kind = block.choice("type", ("text", "image"))
    return _image(block) if kind == "image" else _text(block)


def _source(block: Fields) -> Fields:
    source = block.inner("source")
    if source is None:
        raise wrong(block.at("source"), "Expected an object; the field is required")
    return source


def _image(block: Fields) -> Image:
    source = _source(block)
    kind = source.needed("type")
    if kind == "base64":
        return Image(data=source.needed("data"), media_type=source.needed("media_type"))
    if kind == "url":
        return image_of(source.needed("url"), "", source.at("url"))
    raise wrong(source.at("type"), _OWN)


def _document(block: Fields) -> Document:
    source, name = _source(block), block.text("title") or ""
    kind = source.needed("type")
    if kind == "base64":
        return Document(source.needed("data"), source.needed("media_type"), name)
    if kind == "text":
        return Document(base64.b64encode(source.needed("data").encode()).decode(), "text/plain", name)
    raise wrong(source.at("type"), _OWN)


def _tool(tool: Fields) -> Tool:
    kind = tool.text("type")
    if kind not in (None, "custom"):
        raise wrong(tool.at("type"), _OWN)
    return Tool(
        name=tool.needed("name"),
        description=tool.text("description") or "",
        schema=tool.mapping("input_schema") or {},
        strict=tool.flag("strict"),
    )


def _choice(held: Fields | None) -> Choice | None:
    if held is None:
        return None
    kind = held.choice("type", ("auto", "any", "tool", "none"))
    alone = held.flag("disable_parallel_tool_use")
    parallel = None if alone is None else not alone
    if kind == "tool":
        return Choice("named", held.needed("name"), parallel)
    if kind == "any":
        return Choice("any", parallel=parallel)
    return Choice("none" if kind == "none" else "auto", parallel=parallel)


def _thinking(held: Fields | None) -> int | None:
    """The most tokens of thinking: 0 is none, None leaves it to the model."""
    if held is None:
        return None
    kind = held.choice("type", ("enabled", "disabled", "adaptive", "between_tools"))
    if kind == "enabled":
        return held.whole("budget_tokens", 1)
    return 0 if kind == "disabled" else None


def _format(held: Fields | None) -> Format | None:
    if held is None:
        return None
    held.choice("type", ("json_schema",))
    schema: dict[str, Any] | None = held.mapping("schema")
    if schema is None:
        raise wrong(held.at("schema"), "Expected an object; the field is required")
    return Format(schema=schema)
