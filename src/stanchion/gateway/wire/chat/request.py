"""Requests of chat completions, read into a conversation."""

from __future__ import annotations

from collections.abc import Iterable
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
from ..media import document_of, image_of
from ..reading import Fields, wrong

EFFORTS = frozenset({"none", "minimal", "low", "medium", "high", "xhigh", "max"})
_MODES = ("auto", "none", "required")
_SEED = (1 << 63) - 1


def conversation_of(fields: Fields) -> Conversation:
    """The whole request. Raises InvalidInput with the field's path."""
    fields.ignore("model")
    for old, new in (("functions", "tools"), ("function_call", "tool_choice")):
        if fields.raw(old) is not None:
            raise wrong(fields.at(old), f"This field is no longer taken; use `{new}`")
    if fields.items("messages") is None:
        raise wrong(fields.at("messages"), "Expected a list of messages; the field is required")
    options = fields.inner("stream_options")
    return Conversation(
        turns=turns_of(fields.objects("messages")),
        tools=tuple(_tool(each) for each in fields.objects("tools")),
        choice=_choice(fields),
        format=_format(fields.inner("response_format")),
        stop=fields.texts("stop"),
        logprobs=_logprobs(fields),
        effort=fields.choice("reasoning_effort", EFFORTS),
        usage_in_stream=bool(options and options.flag("include_usage")),
        **sampling(fields, "max_completion_tokens", "max_tokens"),
    )


def sampling(fields: Fields, *most_tokens: str) -> dict[str, Any]:
    """The fields of a conversation that OpenAI's forms share; what is left of the request is `extra`."""
    limits = [fields.whole(name, 1) for name in most_tokens]
    users = [fields.text(name) for name in ("user", "safety_identifier")]
    return {
        "most_tokens": next((limit for limit in limits if limit is not None), None),
        "temperature": fields.number("temperature", 0, 2),
        "top_p": fields.number("top_p", 0, 1),
        "top_k": fields.whole("top_k"),
        "seed": fields.whole("seed", -_SEED, _SEED),
        "answers": fields.whole("n", 1) or 1,
        "user": next((user for user in users if user is not None), None),
        "stream": bool(fields.flag("stream")),
        "extra": fields.rest(),
    }


def turns_of(messages: Iterable[Fields]) -> tuple[Turn, ...]:
    """The messages as turns. What tools gave, and what the user says right after, is one turn."""
    turns: list[Turn] = []
    open_for_more = False
    for message in messages:
        role = message.choice("role", ("developer", "system", "user", "assistant", "tool"))
        if role is None:
            raise wrong(message.at("role"), "The field is required")
        if role == "tool":
            turn = Turn("user", (_result(message),))
        elif role == "user":
            turn = Turn("user", message.parts("content", Text, _part))
        elif role == "assistant":
            turn = Turn("assistant", _said(message))
        else:
            turn = Turn("system", message.parts("content", Text, _text))
        if open_for_more and turn.role == "user":
            turns[-1] = Turn("user", (*turns[-1].parts, *turn.parts))
        else:
            turns.append(turn)
        open_for_more = role == "tool"
    return tuple(turns)


def _part(part: Fields) -> Part:
    kind = part.needed("type")
    if kind == "text":
        return Text(part.needed("text"))
    held = part.inner(kind)
    if held is None:
        raise wrong(part.at("type"), "Expected text, image_url, input_audio or file with a field of that name")
    if kind == "image_url":
        return image_of(held.needed("url"), held.text("detail") or "", held.at("url"))
    if kind == "input_audio":
        return Audio(held.needed("data"), held.needed("format"))
    if kind == "file":
        return _file(held)
    raise wrong(part.at("type"), "Expected text, image_url, input_audio or file")


def _file(held: Fields) -> Document:
    if held.text("file_id") is not None:
        raise wrong(held.at("file_id"), "A stored file is known to its own provider only; send `file_data`")
    return document_of(held.needed("file_data"), held.text("filename") or "", held.at("file_data"))


def _text(part: Fields) -> Text:
    kind = part.choice("type", ("text", "refusal"))
    return Text(part.needed("refusal" if kind == "refusal" else "text"))


def _said(message: Fields) -> tuple[Part, ...]:
    """An assistant's message. `reasoning_content` is what DeepSeek, vLLM and others call thinking."""
    if message.raw("function_call") is not None:
        raise wrong(message.at("function_call"), "This field is no longer taken; use `tool_calls`")
    if message.raw("audio") is not None:
        raise wrong(message.at("audio"), "A stored answer is known to its own provider only")
    thought = message.text("reasoning_content")
    refusal = message.text("refusal")
    return (
        *((Thinking(thought),) if thought else ()),
        *message.parts("content", Text, _text),
        *((Text(refusal),) if refusal else ()),
        *(_call(each) for each in message.objects("tool_calls")),
    )


def _call(call: Fields) -> ToolCall:
    call.choice("type", ("function",))
    function = call.inner("function")
    if function is None:
        raise wrong(call.at("function"), "Expected an object; the field is required")
    return ToolCall(call.needed("id"), function.needed("name"), function.text("arguments") or "")


def _result(message: Fields) -> ToolResult:
    parts: tuple[Text | Image, ...] = message.parts("content", Text, _text)
    return ToolResult(message.needed("tool_call_id"), parts)


def _tool(tool: Fields) -> Tool:
    tool.choice("type", ("function",))
    function = tool.inner("function")
    if function is None:
        raise wrong(tool.at("function"), "Expected an object; the field is required")
    return tool_of(function)


def tool_of(function: Fields) -> Tool:
    """A function's own fields, as both of OpenAI's forms have them."""
    return Tool(
        name=function.needed("name"),
        description=function.text("description") or "",
        schema=function.mapping("parameters") or {},
        strict=function.flag("strict"),
    )


def _choice(fields: Fields) -> Choice | None:
    value, parallel = fields.raw("tool_choice"), fields.flag("parallel_tool_calls")
    if value is None:
        return None if parallel is None else Choice("auto", parallel=parallel)
    if isinstance(value, dict):
        held = Fields(value, fields.at("tool_choice"))
        held.choice("type", ("function",))
        function = held.inner("function")
        if function is None:
            raise wrong(held.at("function"), "Expected an object that names the function")
        return Choice("named", function.needed("name"), parallel)
    return mode_of(fields, parallel)


def mode_of(fields: Fields, parallel: bool | None) -> Choice:
    """A choice of tools given as one word."""
    word = fields.choice("tool_choice", _MODES)
    if word == "required":
        return Choice("any", parallel=parallel)
    return Choice("none" if word == "none" else "auto", parallel=parallel)


def _format(held: Fields | None) -> Format | None:
    if held is None:
        return None
    kind = held.choice("type", ("text", "json_object", "json_schema"))
    if kind == "json_object":
        return Format()
    if kind != "json_schema":
        return None
    schema = held.inner("json_schema")
    if schema is None:
        raise wrong(held.at("json_schema"), "Expected an object; the field is required")
    return format_of(schema)


def format_of(schema: Fields) -> Format:
    """A JSON Schema of the answer, as both of OpenAI's forms have it."""
    held = schema.mapping("schema")
    return Format(schema={} if held is None else held, name=schema.needed("name"), strict=schema.flag("strict"))


def _logprobs(fields: Fields) -> int | None:
    most = fields.whole("top_logprobs")
    return (most or 0) if fields.flag("logprobs") else None
