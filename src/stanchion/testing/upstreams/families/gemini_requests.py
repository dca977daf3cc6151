"""What Gemini takes. A field that it does not know is refused, at any depth."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from ..script import Kind
from .family import fits

Object = dict[str, Any]
Words = Annotated[str, Meta(min_length=1)]
Name = Annotated[str, Meta(pattern="^[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}$")]


class Strict(Struct, rename="camel", forbid_unknown_fields=True):
    """Names in camel case, and no others."""


class Blob(Strict):
    """Bytes as base64."""

    mime_type: Annotated[str, Meta(pattern="^[a-z]+/[a-zA-Z0-9.+-]+$")]
    data: Words
    display_name: str | None = None


class FileData(Strict):
    """A file by its address."""

    file_uri: Words
    mime_type: str | None = None


class FunctionCall(Strict):
    """A tool call of an earlier turn."""

    name: Name
    args: Object | None = None
    id: str | None = None


class FunctionResponse(Strict):
    """What a tool gave."""

    name: Name
    response: Object
    id: str | None = None
    parts: list[Object] | None = None


class Part(Strict):
    """One part: exactly one of its kinds."""

    text: str | None = None
    inline_data: Blob | None = None
    file_data: FileData | None = None
    function_call: FunctionCall | None = None
    function_response: FunctionResponse | None = None
    thought: bool | None = None
    thought_signature: str | None = None


class Content(Strict):
    """One turn."""

    parts: Annotated[list[Part], Meta(min_length=1)]
    role: Literal["user", "model"] | None = None


class Declaration(Strict):
    """A tool."""

    name: Name
    description: str = ""
    parameters: Object | None = None
    parameters_json_schema: Object | None = None
    response: Object | None = None


class ToolSet(Strict):
    """The tools."""

    function_declarations: Annotated[list[Declaration], Meta(min_length=1)] | None = None
    google_search: Object | None = None
    code_execution: Object | None = None
    url_context: Object | None = None


class Calling(Strict):
    """Whether a tool is to be called."""

    mode: Literal["AUTO", "ANY", "NONE", "VALIDATED"]
    allowed_function_names: list[str] | None = None


class ToolConfig(Strict):
    """How tools are called."""

    function_calling_config: Calling | None = None


class ThinkingConfig(Strict):
    """Whether and how long the model thinks."""

    thinking_budget: Annotated[int, Meta(ge=-1)] | None = None
    thinking_level: Literal["minimal", "low", "medium", "high"] | None = None
    include_thoughts: bool | None = None


class Generation(Strict):
    """The options of an answer."""

    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=1)] | None = None
    candidate_count: Annotated[int, Meta(ge=1, le=8)] | None = None
    max_output_tokens: Annotated[int, Meta(ge=1)] | None = None
    stop_sequences: Annotated[list[Words], Meta(max_length=5)] | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    response_mime_type: Literal["text/plain", "application/json", "text/x.enum"] | None = None
    response_schema: Object | None = None
    response_json_schema: Object | None = None
    response_logprobs: bool | None = None
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    response_modalities: list[str] | None = None
    thinking_config: ThinkingConfig | None = None


class Generate(Strict):
    """`models/{model}:generateContent` and its stream."""

    contents: Annotated[list[Content], Meta(min_length=1)]
    system_instruction: Content | None = None
    tools: list[ToolSet] | None = None
    tool_config: ToolConfig | None = None
    generation_config: Generation | None = None
    safety_settings: list[Object] | None = None
    cached_content: str | None = None
    labels: dict[str, str] | None = None


class Embed(Strict):
    """`models/{model}:embedContent`."""

    content: Content
    model: str | None = None
    task_type: str | None = None
    title: str | None = None
    output_dimensionality: Annotated[int, Meta(ge=1)] | None = None


class EmbedOne(Embed):
    """One of many: it must name the model."""


class Batch(Strict):
    """`models/{model}:batchEmbedContents`."""

    requests: Annotated[list[EmbedOne], Meta(min_length=1)]


KINDS = ("text", "inlineData", "fileData", "functionCall", "functionResponse")


def problem(kind: Kind, model: str, body: Any) -> str:
    """What Gemini would refuse; empty for nothing."""
    if kind == "embeddings":
        many = "requests" in body
        found = fits(body, Batch if many else Embed)
        names = {one.get("model") for one in body["requests"]} if many and not found else set()
        return found or ("" if names <= {f"models/{model}"} else "requests: `model` must be the model of the path")
    found = fits(body, Generate)
    if found:
        return found
    options = body.get("generationConfig") or {}
    if "responseSchema" in options and "responseJsonSchema" in options:
        return "generationConfig: only one of `responseSchema` and `responseJsonSchema` may be set"
    shaped = "responseSchema" in options or "responseJsonSchema" in options
    if shaped and options.get("responseMimeType") not in ("application/json", "text/x.enum"):
        return "generationConfig: a schema needs the responseMimeType `application/json`"
    if options.get("logprobs") is not None and not options.get("responseLogprobs"):
        return "generationConfig: `logprobs` needs `responseLogprobs`"
    return _declared(body) or _order(body["contents"])


def _declared(body: Any) -> str:
    tools = [one for group in body.get("tools") or () for one in group.get("functionDeclarations") or ()]
    for tool in tools:
        if "parameters" in tool and "parametersJsonSchema" in tool:
            return f"{tool['name']}: only one of `parameters` and `parametersJsonSchema` may be set"
    calling = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    wanted = set(calling.get("allowedFunctionNames") or ())
    if wanted - {tool["name"] for tool in tools}:
        return f"allowedFunctionNames: {sorted(wanted)} are not all declared"
    if wanted and calling["mode"] not in ("ANY", "VALIDATED"):
        return "allowedFunctionNames: only with the mode ANY"
    return ""


def _order(contents: list[Any]) -> str:
    """A turn of calls is answered by a turn with as many responses."""
    waiting: list[str] = []
    for number, content in enumerate(contents):
        place = f"contents[{number}]"
        for one in content["parts"]:
            if sum(key in one for key in KINDS) != 1:
                return f"{place}: a part needs exactly one of {', '.join(KINDS)}"
        calls = [one["functionCall"]["name"] for one in content["parts"] if "functionCall" in one]
        given = [one["functionResponse"]["name"] for one in content["parts"] if "functionResponse" in one]
        if sorted(given) != sorted(waiting):
            return f"{place}: function responses {given} do not answer the function calls {waiting}"
        if calls and content.get("role") != "model":
            return f"{place}: only a model's turn has function calls"
        waiting = calls
    return f"the function calls {waiting} have no response" if waiting else ""
