"""What Bedrock's Converse takes. A field that it does not know is refused, at any depth."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from .family import fits

Object = dict[str, Any]
Unit = Annotated[float, Meta(ge=0, le=1)]
Words = Annotated[str, Meta(min_length=1)]
Name = Annotated[str, Meta(pattern="^[a-zA-Z0-9_-]{1,64}$")]
Id = Annotated[str, Meta(pattern="^[a-zA-Z0-9_.:-]{1,64}$")]


class Strict(Struct, rename="camel", forbid_unknown_fields=True):
    """Names in camel case, and no others."""


class Place(Strict):
    """A file in a bucket."""

    uri: Annotated[str, Meta(pattern="^s3://")]
    bucket_owner: str | UnsetType = UNSET


class Source(Strict):
    """The bytes of a file as base64, or its place."""

    data: Words | UnsetType = field(default=UNSET, name="bytes")
    s3_location: Place | UnsetType = UNSET
    text: str | UnsetType = UNSET
    content: list[Object] | UnsetType = UNSET


class Picture(Strict):
    """A picture."""

    format: Literal["png", "jpeg", "gif", "webp"]
    source: Source


class File(Strict):
    """A document."""

    name: Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[a-zA-Z0-9\s()\[\]-]+$")]
    source: Source
    format: Literal["pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"] | UnsetType = UNSET
    context: str | UnsetType = UNSET
    citations: Object | UnsetType = UNSET


class Sound(Strict):
    """Sound."""

    format: Literal[
        "mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "mkv", "mka", "x-aac", "m4a", "mpeg", "pcm", "webm"
    ]
    source: Source


class Use(Strict):
    """A tool call of an earlier turn."""

    tool_use_id: Id
    name: Name
    input: Object
    type: Literal["server_tool_use"] | UnsetType = UNSET


class Given(Strict):
    """One part of what a tool gave."""

    text: str | UnsetType = UNSET
    json: Any = UNSET
    image: Picture | UnsetType = UNSET
    document: File | UnsetType = UNSET


class Result(Strict):
    """What a tool gave."""

    tool_use_id: Id
    content: list[Given]
    status: Literal["success", "error"] | UnsetType = UNSET


class ReasoningText(Strict):
    """What the model thought, with its signature."""

    text: str
    signature: str | UnsetType = UNSET


class Reasoning(Strict):
    """What the model thought, or that sealed."""

    reasoning_text: ReasoningText | UnsetType = UNSET
    redacted_content: str | UnsetType = UNSET


class CachePoint(Strict):
    """The end of a prefix that is kept."""

    type: Literal["default"]
    ttl: Literal["5m", "1h"] | UnsetType = UNSET


class Block(Strict):
    """One part: exactly one of its kinds."""

    text: str | UnsetType = UNSET
    image: Picture | UnsetType = UNSET
    document: File | UnsetType = UNSET
    audio: Sound | UnsetType = UNSET
    tool_use: Use | UnsetType = UNSET
    tool_result: Result | UnsetType = UNSET
    reasoning_content: Reasoning | UnsetType = UNSET
    cache_point: CachePoint | UnsetType = UNSET
    guard_content: Object | UnsetType = UNSET


class Message(Strict):
    """One turn."""

    role: Literal["user", "assistant"]
    content: Annotated[list[Block], Meta(min_length=1)]


class SystemBlock(Strict):
    """One part of the instructions."""

    text: Words | UnsetType = UNSET
    cache_point: CachePoint | UnsetType = UNSET
    guard_content: Object | UnsetType = UNSET


class Inference(Strict):
    """The options of an answer."""

    max_tokens: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    temperature: Unit | UnsetType = UNSET
    top_p: Unit | UnsetType = UNSET
    stop_sequences: list[Words] | UnsetType = UNSET


class InputSchema(Strict):
    """The JSON Schema of a tool's arguments."""

    json: Object


class Spec(Strict):
    """A tool."""

    name: Name
    input_schema: InputSchema
    description: Words | UnsetType = UNSET
    strict: bool | UnsetType = UNSET


class ToolOf(Strict):
    """A tool, or the end of a prefix that is kept."""

    tool_spec: Spec | UnsetType = UNSET
    cache_point: CachePoint | UnsetType = UNSET


class Tools(Strict):
    """The tools, and whether one is to be called."""

    tools: Annotated[list[ToolOf], Meta(min_length=1)]
    tool_choice: dict[Literal["auto", "any", "tool"], Object] | UnsetType = UNSET


class JsonSchema(Strict):
    """The form of the answer; the schema is JSON in a text."""

    schema: str
    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET


class Structure(Strict):
    """What stands around it."""

    json_schema: JsonSchema


class TextFormat(Strict):
    """The form of the answer, with its kind."""

    type: Literal["json_schema"]
    structure: Structure


class Output(Strict):
    """Options of the answer's form."""

    text_format: TextFormat | UnsetType = UNSET
    effort: str | UnsetType = UNSET


class Converse(Strict):
    """`/model/{modelId}/converse` and `/converse-stream`."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    system: list[SystemBlock] | UnsetType = UNSET
    inference_config: Inference | UnsetType = UNSET
    tool_config: Tools | UnsetType = UNSET
    output_config: Output | UnsetType = UNSET
    guardrail_config: Object | UnsetType = UNSET
    additional_model_request_fields: Object | UnsetType = UNSET
    additional_model_response_field_paths: list[str] | UnsetType = UNSET
    prompt_variables: Object | UnsetType = UNSET
    request_metadata: dict[str, str] | UnsetType = UNSET
    performance_config: Object | UnsetType = UNSET
    service_tier: Object | UnsetType = UNSET


def problem(body: Any) -> str:
    """What Bedrock would refuse; empty for nothing."""
    found = fits(body, Converse)
    if found:
        return found
    tools = body.get("toolConfig") or {}
    choice = tools.get("toolChoice", {"auto": {}})
    names = {tool["toolSpec"]["name"] for tool in tools.get("tools", ()) if "toolSpec" in tool}
    if len(choice) != 1 or ("tool" in choice and choice["tool"].get("name") not in names):
        return "toolConfig.toolChoice: exactly one of `auto`, `any` and `tool`, and that one is declared"
    if any(len(one) != 1 for one in (*tools.get("tools", ()), *body.get("system", ()))):
        return "a tool and a part of `system` have exactly one kind"
    parts = [one for message in body["messages"] for one in message["content"]]
    if not tools and any("toolUse" in one or "toolResult" in one for one in parts):
        return "toolConfig is missing, and there are toolUse or toolResult blocks"
    return next(filter(None, map(_part, parts)), "") or _order(body["messages"])


def _part(one: Any) -> str:
    if len(one) != 1:
        return "a content block has exactly one kind"
    if "text" in one and not one["text"].strip():
        return "the text field in a content block is blank"
    files = [one.get(kind) for kind in ("image", "document", "audio")]
    files += [
        given.get(kind) for given in one.get("toolResult", {}).get("content", ()) for kind in ("image", "document")
    ]
    return next((f"{file} has no one source" for file in files if file and not _sourced(file["source"])), "")


def _sourced(source: Any) -> bool:
    if len(source) != 1:
        return False
    try:
        base64.b64decode(source.get("bytes", ""), validate=True)
    except binascii.Error:
        return False
    return True


def _order(messages: list[Any]) -> str:
    """Users and assistants take turns, a user begins, and each turn of calls is answered in the next."""
    waiting: set[str] = set()
    for number, message in enumerate(messages):
        place = f"messages.{number}"
        if message["role"] != ("assistant" if number % 2 else "user"):
            return f"{place}: the roles must alternate, and the first is `user`"
        given = [one["toolResult"]["toolUseId"] for one in message["content"] if "toolResult" in one]
        if set(given) != waiting or len(given) != len(waiting):
            return f"{place}: the toolResult blocks {sorted(given)} do not answer the toolUse blocks {sorted(waiting)}"
        uses = [one["toolUse"]["toolUseId"] for one in message["content"] if "toolUse" in one]
        if uses and message["role"] != "assistant":
            return f"{place}: only an assistant's turn has toolUse blocks"
        if len(uses) != len(set(uses)):
            return f"{place}: two toolUse blocks have one id"
        waiting = set(uses)
    return f"the toolUse blocks {sorted(waiting)} have no toolResult" if waiting else ""
