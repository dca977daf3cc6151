"""What OpenAI takes: the types of the fields it knows, and which messages may follow which.

Fields that are not here pass: servers of this form have their own.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from ..script import Kind
from .family import fits

Object = dict[str, Any]
Unit = Annotated[float, Meta(ge=0, le=1)]
Two = Annotated[float, Meta(ge=0, le=2)]
Positive = Annotated[int, Meta(ge=1)]


class Url(Struct):
    """A picture's address or data."""

    url: Annotated[str, Meta(pattern="^(https?://|data:)")]
    detail: Literal["auto", "low", "high", "original"] | UnsetType = UNSET


class Sound(Struct):
    """Sound as base64."""

    data: str
    format: Literal["wav", "mp3"]


class TextPart(Struct, tag="text"):
    """Words."""

    text: str


class RefusalPart(Struct, tag="refusal"):
    """A refusal of an earlier turn."""

    refusal: str


class ImagePart(Struct, tag="image_url"):
    """A picture."""

    image_url: Url


class AudioPart(Struct, tag="input_audio"):
    """Sound."""

    input_audio: Sound


class FilePart(Struct, tag="file"):
    """A file."""

    file: Object


class Called(Struct):
    """What a tool is called with."""

    name: Annotated[str, Meta(pattern="^[a-zA-Z0-9_.-]{1,128}$")]
    arguments: str


class CallMade(Struct):
    """A tool call of an earlier turn."""

    id: str
    function: Called
    type: Literal["function"]


class System(Struct, tag_field="role", tag="system"):
    """Instructions."""

    content: str | list[TextPart]


class Developer(Struct, tag_field="role", tag="developer"):
    """Instructions, by their newer name."""

    content: str | list[TextPart]


class User(Struct, tag_field="role", tag="user"):
    """The user's turn."""

    content: str | list[TextPart | ImagePart | AudioPart | FilePart]


class Assistant(Struct, tag_field="role", tag="assistant"):
    """The model's turn."""

    content: str | list[TextPart | RefusalPart] | None = None
    tool_calls: list[CallMade] | None = None
    refusal: str | None = None


class ToolAnswer(Struct, tag_field="role", tag="tool"):
    """What a tool gave."""

    tool_call_id: str
    content: str | list[TextPart]


class Function(Struct):
    """A tool."""

    name: Annotated[str, Meta(pattern="^[a-zA-Z0-9_.-]{1,128}$")]
    description: str | None = None
    parameters: Object | None = None
    strict: bool | None = None


class FunctionTool(Struct):
    """A tool in its wrapper."""

    type: Literal["function"]
    function: Function


class Named(Struct):
    """The name of a tool."""

    name: str


class NamedChoice(Struct):
    """One tool that is to be called."""

    type: Literal["function"]
    function: Named


class Schema(Struct):
    """The form of the answer."""

    name: Annotated[str, Meta(pattern="^[a-zA-Z0-9_-]{1,64}$")]
    schema: Object | None = None
    strict: bool | None = None


class ResponseFormat(Struct):
    """The form of the answer, with its kind."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: Schema | None = None


class StreamOptions(Struct):
    """What a stream has besides."""

    include_usage: bool = False


class Chat(Struct):
    """`/v1/chat/completions`."""

    model: str
    messages: Annotated[list[System | Developer | User | Assistant | ToolAnswer], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: list[FunctionTool] | UnsetType = UNSET
    tool_choice: Literal["auto", "none", "required"] | NamedChoice | UnsetType = UNSET
    parallel_tool_calls: bool | UnsetType = UNSET
    response_format: ResponseFormat | UnsetType = UNSET
    max_tokens: Positive | None = None
    max_completion_tokens: Positive | None = None
    temperature: Two | None = None
    top_p: Unit | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    user: str | UnsetType = UNSET
    reasoning_effort: str | None = None


class Completions(Struct):
    """`/v1/completions`."""

    model: str
    prompt: str | list[Any]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Meta(ge=0)] | None = None
    temperature: Two | None = None
    top_p: Unit | None = None
    n: Positive | None = None
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    echo: bool | None = None
    stop: str | list[str] | None = None


class Flat(Struct):
    """A tool of the responses form."""

    type: str
    name: str | UnsetType = UNSET
    parameters: Object | None = None
    strict: bool | None = None


class Reasoning(Struct):
    """How much the model is to think."""

    effort: str | None = None
    summary: str | None = None


class TextForm(Struct):
    """The form of the answer of the responses form."""

    type: Literal["text", "json_object", "json_schema"]
    name: str | UnsetType = UNSET
    schema: Object | UnsetType = UNSET
    strict: bool | None = None


class TextOptions(Struct):
    """Options of the answer's text."""

    form: TextForm | UnsetType = field(default=UNSET, name="format")


class Responses(Struct):
    """`/v1/responses`."""

    model: str
    input: str | list[Object]
    instructions: str | None = None
    stream: bool | None = None
    tools: list[Flat] | UnsetType = UNSET
    tool_choice: str | Object | UnsetType = UNSET
    max_output_tokens: Annotated[int, Meta(ge=16)] | None = None
    temperature: Two | None = None
    top_p: Unit | None = None
    text: TextOptions | UnsetType = UNSET
    reasoning: Reasoning | None = None


class Embeddings(Struct):
    """`/v1/embeddings`."""

    model: str
    input: str | list[Any]
    dimensions: Annotated[int, Meta(ge=1, le=8192)] | UnsetType = UNSET
    encoding_format: Literal["float", "base64"] | UnsetType = UNSET


class Rerank(Struct):
    """`/v1/rerank`, as Cohere and Jina have it."""

    model: str
    query: str
    documents: Annotated[list[str | Object], Meta(min_length=1)]
    top_n: Positive | None = None
    return_documents: bool | None = None


FORMS: dict[Kind, type[Struct]] = {
    "chat": Chat,
    "completions": Completions,
    "responses": Responses,
    "embeddings": Embeddings,
    "rerank": Rerank,
}


def problem(kind: Kind, body: Any) -> str:
    """What OpenAI would refuse; empty for nothing."""
    found = fits(body, FORMS[kind]) if kind in FORMS else ""
    if found:
        return found
    match kind:
        case "chat":
            return _chat(body)
        case "responses":
            return _responses(body) if isinstance(body["input"], list) else ""
        case "embeddings" if not body["input"]:
            return "`input` is empty"
    return ""


def _chat(body: Any) -> str:
    if not body.get("stream") and body.get("stream_options"):
        return "`stream_options` is only for streams"
    if body.get("top_logprobs") is not None and not body.get("logprobs"):
        return "`top_logprobs` needs `logprobs`"
    if body.get("tool_choice") not in (None, "none") and not body.get("tools"):
        return "`tool_choice` needs `tools`"
    if (body.get("response_format") or {}).get("type") == "json_schema" and not body["response_format"].get(
        "json_schema"
    ):
        return "`response_format.json_schema` is missing"
    return _order(body["messages"])


def _order(messages: list[Any]) -> str:
    waiting: set[str] = set()
    for number, message in enumerate(messages):
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                return f"messages[{number}]: a message of role 'tool' must answer a tool call before it"
            waiting.discard(message["tool_call_id"])
            continue
        if waiting:
            return f"messages[{number}]: the tool calls {sorted(waiting)} have no answer"
        if message["role"] == "assistant":
            waiting = {call["id"] for call in message.get("tool_calls") or ()}
            if not waiting and message.get("content") is None and message.get("refusal") is None:
                return f"messages[{number}]: an assistant's message needs `content` or `tool_calls`"
    return f"the tool calls {sorted(waiting)} have no answer" if waiting else ""


ROLES = ("user", "assistant", "system", "developer")


def _responses(body: Any) -> str:
    called: set[str] = set()
    for number, item in enumerate(body["input"]):
        place = f"input[{number}]"
        match item.get("type", "message"):
            case "message":
                if item.get("role") not in ROLES or not isinstance(item.get("content"), str | list):
                    return f"{place} is no message"
            case "function_call":
                if not all(isinstance(item.get(key), str) for key in ("call_id", "name", "arguments")):
                    return f"{place} is no function call"
                called.add(item["call_id"])
            case "function_call_output":
                if item.get("call_id") not in called and not body.get("previous_response_id"):
                    return f"{place}: no tool call found for this output"
    return ""
