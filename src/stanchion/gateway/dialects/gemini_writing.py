"""A conversation as the request of Gemini's `generateContent`.

Source: the reference of the Gemini API; its guides to function calling, structured output and thought signatures.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from ..wire.conversation import (
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
from ..wire.reading import wrong

NAME = "Gemini"
_UNSIGNED = "skip_thought_signature_validator"
_MOST_STOPS = 5
_SEED = 1 << 31
_MODES = {"auto": "AUTO", "any": "ANY", "named": "ANY", "none": "NONE"}
_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576, "max": 24576}
_LEVELS = {"none": "minimal", "xhigh": "high", "max": "high"}
_SOUNDS = {"mp3": "audio/mp3", "pcm16": "audio/pcm"}


def contents(turns: Sequence[Turn], *, signed: bool) -> dict[str, Any]:
    """`systemInstruction` and `contents`. Turns of one side that follow each other become one.

    With `signed`, a call that came without a signature gets the one by which Gemini is told that there is none.
    Raises InvalidInput for what Gemini does not take.
    """
    system: list[dict[str, Any]] = []
    written: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    for place, turn in enumerate(turns):
        path = f"$.messages[{place}]"
        if turn.role == "system":
            system += [{"text": part.text} for part in turn.parts if isinstance(part, Text) and part.text]
            continue
        role = "model" if turn.role == "assistant" else "user"
        parts = list(_model(turn, names, path, signed) if role == "model" else _user(turn, names, path))
        if parts and written and written[-1]["role"] == role:
            written[-1]["parts"] += parts
        elif parts:
            written.append({"role": role, "parts": parts})
    if not written:
        raise wrong("$.messages", f"{NAME} needs a message besides the instructions")
    return {"contents": written} | ({"systemInstruction": {"parts": system}} if system else {})


def tools(asked: Conversation) -> dict[str, Any]:
    """The tools and their choice. Raises InvalidInput where only one call at a time is wanted."""
    if not asked.tools:
        return {}
    written: dict[str, Any] = {"tools": [{"functionDeclarations": [_tool(tool) for tool in asked.tools]}]}
    if asked.choice is not None:
        written["toolConfig"] = {"functionCallingConfig": _choice(asked.choice)}
    return written


def thinking(asked: Conversation, model: str) -> dict[str, Any]:
    """How much is to be thought: in tokens for the models before 3, in levels for those after."""
    if asked.thinking_tokens is not None:
        return {"thinkingBudget": asked.thinking_tokens, "includeThoughts": asked.thinking_tokens > 0}
    if asked.effort is None:
        return {}
    if before_3(model):
        return {"thinkingBudget": _BUDGETS[asked.effort]}
    return {"thinkingLevel": _LEVELS.get(asked.effort, asked.effort)}


def before_3(model: str) -> bool:
    """Whether the model is of a generation that knows neither levels of thinking nor signatures that must come back."""
    return model.rpartition("/")[2].startswith(("gemini-1", "gemini-2"))


def checked(asked: Conversation) -> None:
    """Raise InvalidInput for options that Gemini lacks."""
    if asked.answers != 1:
        raise wrong("$.n", "Only one answer can be had where the call is translated")
    if len(asked.stop) > _MOST_STOPS:
        raise wrong("$.stop", f"{NAME} takes {_MOST_STOPS} at most")
    if asked.seed is not None and not -_SEED <= asked.seed < _SEED:
        raise wrong("$.seed", f"{NAME} takes whole numbers of 32 bits")


def _user(turn: Turn, names: Mapping[str, str], path: str) -> Iterator[dict[str, Any]]:
    # What the tools gave comes before what the user says of it.
    for part in sorted(turn.parts, key=lambda part: not isinstance(part, ToolResult)):
        if isinstance(part, ToolResult):
            yield _result(part, names, path)
        elif isinstance(part, Text | Image | Audio | Document):
            yield from _content(part, path)


def _model(turn: Turn, names: dict[str, str], path: str, signed: bool) -> Iterator[dict[str, Any]]:
    """A turn of the model. A signature stands at the part behind the thought that it belongs to."""
    signature = ""
    called = False
    for part in turn.parts:
        if isinstance(part, Thinking):
            signature = part.signature.removeprefix(GEMINI) if part.signature.startswith(GEMINI) else ""
            if part.text and signature:
                yield {"text": part.text, "thought": True}
            continue
        if isinstance(part, ToolCall):
            names[part.id] = part.name
            # Calls made at once have one signature, at the first of them.
            mine = signature or ("" if called or not signed else _UNSIGNED)
            called = True
            made = [{"functionCall": {"id": part.id, "name": part.name, "args": _arguments(part, path)}}]
        else:
            mine, made = signature, list(_content(part, path))
        for one in made:
            yield {**one, "thoughtSignature": mine} if mine else one
            signature = mine = ""
    if signature:
        yield {"text": "", "thoughtSignature": signature}


def _content(part: Part, path: str) -> Iterator[dict[str, Any]]:
    match part:
        case Text():
            if part.text:
                yield {"text": part.text}
        case Image():
            yield _image(part, path)
        case Audio():
            yield _inline(_SOUNDS.get(part.format, f"audio/{part.format}"), part.data)
        case Document():
            yield _inline(part.media_type, part.data)


def _inline(media_type: str, data: str) -> dict[str, Any]:
    return {"inlineData": {"mimeType": media_type, "data": data}}


def _image(part: Image, path: str) -> dict[str, Any]:
    if not part.url:
        return _inline(part.media_type, part.data)
    kind = mimetypes.guess_type(part.url.partition("?")[0])[0]
    if kind is None:
        raise wrong(path, f"{NAME} must know a picture's type, and its URL does not tell it: send it in base64")
    return {"fileData": {"fileUri": part.url, "mimeType": kind}}


def _arguments(call: ToolCall, path: str) -> msgspec.Raw:
    """The arguments byte for byte."""
    given = call.arguments.strip() or "{}"
    try:
        msgspec.json.decode(given, type=dict[str, msgspec.Raw])
    except msgspec.MsgspecError as error:
        raise wrong(path, "Expected the arguments of a tool call as a JSON object") from error
    return msgspec.Raw(given.encode())


def _result(part: ToolResult, names: Mapping[str, str], path: str) -> dict[str, Any]:
    if part.id not in names:
        raise wrong(path, f"No tool call before this has the id {part.id!r}")
    said = "\n".join(one.text for one in part.parts if isinstance(one, Text))
    response = {"id": part.id, "name": names[part.id], "response": {"error" if part.failed else "output": said}}
    pictures = [_image(one, path) for one in part.parts if isinstance(one, Image)]
    return {"functionResponse": response | ({"parts": pictures} if pictures else {})}


def _tool(tool: Tool) -> dict[str, Any]:
    schema = {"parametersJsonSchema": tool.schema} if tool.schema else {}
    return {"name": tool.name, "description": tool.description, **schema}


def _choice(choice: Choice) -> dict[str, Any]:
    if choice.parallel is False and choice.mode != "none":
        raise wrong("$.parallel_tool_calls", f"{NAME} cannot be held to one tool call at a time")
    named = {"allowedFunctionNames": [choice.name]} if choice.mode == "named" else {}
    return {"mode": _MODES[choice.mode], **named}
