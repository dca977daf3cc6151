"""Requests of the Responses API, read into a conversation.

What the API keeps for a client (earlier responses, conversations, stored prompts) is at its own provider; the gateway
translates a call that carries everything with it, and says so of any other.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..chat.request import EFFORTS, format_of, mode_of, sampling, tool_of
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

HIDDEN = "rs_hidden_"
"""How the id of a reasoning item begins whose thoughts its provider hid."""

_STATELESS = "Only an upstream of the Responses API itself keeps this; send the whole conversation in `input`"
_HOSTED = "This is done by OpenAI only; ask an upstream of the Responses API"
_INCLUDED = ("reasoning.encrypted_content", "message.output_text.logprobs")


def conversation_of(fields: Fields) -> Conversation:
    """The whole request. Raises InvalidInput with the field's path."""
    fields.ignore("model", "stream_options")
    _stateless(fields)
    instructions = fields.text("instructions")
    head = (Turn("system", (Text(instructions),)),) if instructions else ()
    reasoning, text = fields.inner("reasoning"), fields.inner("text")
    verbosity = text.text("verbosity") if text else None
    turns = (*head, *_turns(fields))
    tools = tuple(_tool(each) for each in fields.objects("tools"))
    choice, logprobs = _choice(fields), _logprobs(fields)
    # Last of all, as what nobody has asked for by then is `extra`.
    shared = sampling(fields, "max_output_tokens")
    if verbosity:
        shared["extra"]["verbosity"] = verbosity
    return Conversation(
        turns=turns,
        tools=tools,
        choice=choice,
        format=_format(text.inner("format")) if text else None,
        logprobs=logprobs,
        effort=reasoning.choice("effort", EFFORTS) if reasoning else None,
        usage_in_stream=True,
        **shared,
    )


def _stateless(fields: Fields) -> None:
    for name in ("previous_response_id", "conversation", "prompt"):
        if fields.raw(name) is not None:
            raise wrong(fields.at(name), _STATELESS)
    for name in ("store", "background"):
        if fields.flag(name):
            raise wrong(fields.at(name), _STATELESS)


def _turns(fields: Fields) -> tuple[Turn, ...]:
    given = fields.raw("input")
    if isinstance(given, str):
        return (Turn("user", (Text(given),)),)
    if given is None:
        raise wrong(fields.at("input"), "Expected a text or a list of items; the field is required")
    return _joined(_item(item) for item in fields.objects("input"))


def _joined(items: Iterable[Turn]) -> tuple[Turn, ...]:
    """Items as turns: an assistant's thoughts, words and calls are one, and so is what tools gave with what the user
    says right after.
    """
    turns: list[Turn] = []
    for item in items:
        last = turns[-1] if turns else None
        results = last is not None and bool(last.parts) and isinstance(last.parts[-1], ToolResult)
        if last is not None and last.role == item.role and (item.role == "assistant" or results):
            turns[-1] = Turn(item.role, (*last.parts, *item.parts))
        else:
            turns.append(item)
    return tuple(turns)


def _item(item: Fields) -> Turn:
    match item.text("type") or "message":
        case "message":
            return _message(item)
        case "function_call":
            call = ToolCall(item.needed("call_id"), item.needed("name"), item.text("arguments") or "")
            return Turn("assistant", (call,))
        case "function_call_output":
            given: tuple[Text | Image, ...] = item.parts("output", Text, _given)
            return Turn("user", (ToolResult(item.needed("call_id"), given),))
        case "reasoning":
            return Turn("assistant", (_thinking(item),))
        case "item_reference":
            raise wrong(item.at("type"), _STATELESS)
        case _:
            raise wrong(item.at("type"), _HOSTED)


def _message(item: Fields) -> Turn:
    role = item.choice("role", ("user", "assistant", "system", "developer"))
    parts = item.parts("content", Text, _part)
    if role == "assistant":
        return Turn("assistant", parts)
    if role == "user":
        return Turn("user", parts)
    if role is None:
        raise wrong(item.at("role"), "The field is required")
    return Turn("system", parts)


def _part(part: Fields) -> Part:
    match part.needed("type"):
        case "input_text" | "output_text" | "text":
            return Text(part.needed("text"))
        case "refusal":
            return Text(part.needed("refusal"))
        case "input_image":
            return _image(part)
        case "input_file":
            for name in ("file_id", "file_url"):
                if part.text(name) is not None:
                    raise wrong(part.at(name), "Send the file itself as `file_data`")
            return _file(part)
        case "input_audio":
            held = part.inner("input_audio")
            if held is None:
                raise wrong(part.at("input_audio"), "Expected an object; the field is required")
            return Audio(held.needed("data"), held.needed("format"))
        case _:
            raise wrong(part.at("type"), _HOSTED)


def _image(part: Fields) -> Image:
    if part.text("file_id") is not None:
        raise wrong(part.at("file_id"), "Send the picture itself, or its URL, as `image_url`")
    return image_of(part.needed("image_url"), part.text("detail") or "", part.at("image_url"))


def _file(part: Fields) -> Document:
    return document_of(part.needed("file_data"), part.text("filename") or "", part.at("file_data"))


def _given(part: Fields) -> Text | Image:
    kind = part.choice("type", ("input_text", "output_text", "input_image"))
    return _image(part) if kind == "input_image" else Text(part.needed("text"))


def _thinking(item: Fields) -> Thinking:
    whole = [part.needed("text") for part in item.objects("content")]
    summary = [part.needed("text") for part in item.objects("summary")]
    hidden = (item.text("id") or "").startswith(HIDDEN)
    return Thinking("".join(whole or summary), item.text("encrypted_content") or "", redacted=hidden)


def _tool(tool: Fields) -> Tool:
    if tool.needed("type") != "function":
        raise wrong(tool.at("type"), _HOSTED)
    return tool_of(tool)


def _choice(fields: Fields) -> Choice | None:
    value, parallel = fields.raw("tool_choice"), fields.flag("parallel_tool_calls")
    if value is None:
        return None if parallel is None else Choice("auto", parallel=parallel)
    if isinstance(value, dict):
        held = Fields(value, fields.at("tool_choice"))
        if held.needed("type") != "function":
            raise wrong(held.at("type"), _HOSTED)
        return Choice("named", held.needed("name"), parallel)
    return mode_of(fields, parallel)


def _format(held: Fields | None) -> Format | None:
    kind = held.choice("type", ("text", "json_object", "json_schema")) if held else None
    if held is None or kind in (None, "text"):
        return None
    return Format() if kind == "json_object" else format_of(held)


def _logprobs(fields: Fields) -> int | None:
    included = fields.texts("include")
    for each in included:
        if each not in _INCLUDED:
            raise wrong(fields.at("include"), _HOSTED)
    most = fields.whole("top_logprobs")
    return most if most is not None else 0 if _INCLUDED[1] in included else None
