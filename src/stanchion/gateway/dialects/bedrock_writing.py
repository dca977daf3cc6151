"""A conversation as the request of Bedrock's Converse.

Source: the reference of the Amazon Bedrock runtime; the parameters of the models on it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import msgspec

from ..wire.conversation import (
    GEMINI,
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
from ..wire.reading import wrong

NAME = "Bedrock"
_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
_NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9()\[\]-]+")
_PICTURES = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
_FILES = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}
_EFFORTS = {"none": "low", "minimal": "low"}
_ANY_OBJECT = {"type": "object", "properties": {}}


def messages(turns: Sequence[Turn]) -> dict[str, Any]:
    """`system` and `messages`. Turns of one side that follow each other become one: they must alternate.

    Raises InvalidInput for what Converse does not take.
    """
    system: list[dict[str, Any]] = []
    written: list[dict[str, Any]] = []
    numbers = count(1)
    for place, turn in enumerate(turns):
        path = f"$.messages[{place}].content"
        if turn.role == "system":
            system += [block for part in turn.parts if isinstance(part, Text) for block in _text(part)]
            continue
        # What tools gave comes before what the user says of it.
        parts = sorted(turn.parts, key=lambda part: not isinstance(part, ToolResult))
        blocks = [block for part in parts for block in _blocks(part, numbers, path)]
        if blocks and written and written[-1]["role"] == turn.role:
            written[-1]["content"] += blocks
        elif blocks:
            written.append({"role": turn.role, "content": blocks})
    if not written or written[0]["role"] != "user":
        raise wrong("$.messages", f"{NAME} needs a conversation that a user begins")
    return {"messages": written} | ({"system": system} if system else {})


def tools(asked: Conversation) -> dict[str, Any]:
    """The tools and their choice. Raises InvalidInput for a choice that Converse does not have."""
    used = any(isinstance(part, ToolCall | ToolResult) for turn in asked.turns for part in turn.parts)
    if not asked.tools:
        if used:
            raise wrong("$.tools", f"{NAME} needs the tools that the conversation has used")
        return {}
    choice = asked.choice or Choice("auto")
    if choice.mode == "none":
        # There is no word for it here: tools that are not declared are not called.
        if used:
            raise wrong("$.tool_choice", f"{NAME} cannot forbid tools in a conversation that has used them")
        return {}
    if choice.parallel is False:
        raise wrong("$.parallel_tool_calls", f"{NAME} cannot be held to one tool call at a time")
    chosen = {"tool": {"name": choice.name}} if choice.mode == "named" else {choice.mode: {}}
    return {"toolConfig": {"tools": [{"toolSpec": _tool(tool)} for tool in asked.tools], "toolChoice": chosen}}


def output(asked: Conversation) -> dict[str, Any]:
    """The form of the answer, and the effort. Raises InvalidInput for JSON without a schema."""
    written: dict[str, Any] = {}
    if asked.format is not None:
        written["textFormat"] = _format(asked.format)
    if asked.effort is not None:
        written["effort"] = _EFFORTS.get(asked.effort, asked.effort)
    return {"outputConfig": written} if written else {}


def own(asked: Conversation, model: str) -> dict[str, Any]:
    """What only the model's maker knows: its own names of fields. Raises InvalidInput for another maker's model."""
    fields: dict[str, Any] = {}
    if asked.top_k is not None:
        if "anthropic." in model:
            fields["top_k"] = asked.top_k
        elif "amazon.nova" in model:
            fields["inferenceConfig"] = {"topK": asked.top_k}
        else:
            raise wrong("$.top_k", f"{NAME} takes this for models of Anthropic and Amazon Nova only")
    if asked.thinking_tokens:
        if "anthropic." not in model:
            raise wrong("$.thinking", f"{NAME} takes this for models of Anthropic only")
        fields["thinking"] = {"type": "enabled", "budget_tokens": asked.thinking_tokens}
    return {"additionalModelRequestFields": fields} if fields else {}


def _blocks(part: Part, numbers: Iterator[int], path: str) -> Iterator[dict[str, Any]]:
    match part:
        case Text():
            yield from _text(part)
        case Image():
            yield {"image": _image(part, path)}
        case Audio():
            yield {"audio": {"format": part.format, "source": {"bytes": part.data}}}
        case Thinking():
            yield from _thinking(part)
        case ToolCall():
            yield {"toolUse": {"toolUseId": _id(part.id), "name": part.name, "input": _arguments(part, path)}}
        case ToolResult():
            yield {"toolResult": _result(part, path)}
        case Document():
            yield _file(part, next(numbers), path)


def _text(part: Text) -> Iterator[dict[str, Any]]:
    """The words, and behind them the mark of a prefix that may be kept. A blank text is refused."""
    if part.text.strip():
        yield {"text": part.text}
    if part.cache:
        ttl = part.cache.get("ttl")
        yield {"cachePoint": {"type": "default"} | ({"ttl": ttl} if ttl else {})}


def _thinking(part: Thinking) -> Iterator[dict[str, Any]]:
    """Thoughts without a signature, or with another provider's, are not taken back."""
    if not part.signature or part.signature.startswith(GEMINI):
        return
    if part.redacted:
        yield {"reasoningContent": {"redactedContent": part.signature}}
    else:
        yield {"reasoningContent": {"reasoningText": {"text": part.text, "signature": part.signature}}}


def _image(part: Image, path: str) -> dict[str, Any]:
    if part.url:
        raise wrong(path, f"{NAME} fetches no picture from a URL: send it in base64")
    if part.media_type not in _PICTURES:
        raise wrong(path, f"{NAME} takes pictures as {', '.join(sorted(set(_PICTURES.values())))}")
    return {"format": _PICTURES[part.media_type], "source": {"bytes": part.data}}


def _file(part: Document, number: int, path: str) -> dict[str, Any]:
    """A document under a name of the letters that are allowed, with a number: no two may have one name."""
    if part.media_type not in _FILES:
        raise wrong(path, f"{NAME} takes files as {', '.join(_FILES.values())}")
    name = _NOT_IN_A_NAME.sub(" ", part.name).strip()[:150]
    source = {"bytes": part.data}
    return {"document": {"format": _FILES[part.media_type], "name": f"{name or 'document'} {number}", "source": source}}


def _id(given: str) -> str:
    """The id of a call; one that another provider gave in letters that are refused here becomes a digest of it."""
    if _ID.fullmatch(given):
        return given
    return "call_" + hashlib.blake2b(given.encode(), digest_size=16).hexdigest()


def _arguments(call: ToolCall, path: str) -> msgspec.Raw:
    """The arguments byte for byte."""
    given = call.arguments.strip() or "{}"
    try:
        msgspec.json.decode(given, type=dict[str, msgspec.Raw])
    except msgspec.MsgspecError as error:
        raise wrong(path, "Expected the arguments of a tool call as a JSON object") from error
    return msgspec.Raw(given.encode())


def _result(part: ToolResult, path: str) -> dict[str, Any]:
    content = [{"text": one.text} if isinstance(one, Text) else {"image": _image(one, path)} for one in part.parts]
    return {"toolUseId": _id(part.id), "content": content} | ({"status": "error"} if part.failed else {})


def _tool(tool: Tool) -> dict[str, Any]:
    written: dict[str, Any] = {"name": tool.name, "inputSchema": {"json": tool.schema or _ANY_OBJECT}}
    if tool.description:
        written["description"] = tool.description
    if tool.strict is not None:
        written["strict"] = tool.strict
    return written


def _format(form: Format) -> dict[str, Any]:
    if form.schema is None:
        raise wrong("$.response_format", f"{NAME} gives JSON by a schema only; use json_schema")
    schema = {"schema": msgspec.json.encode(form.schema).decode()} | ({"name": form.name} if form.name else {})
    return {"type": "json_schema", "structure": {"jsonSchema": schema}}
