"""What Anthropic's Messages take: the types of the fields it knows, and which turns may follow which."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from .family import fits

Object = dict[str, Any]
Unit = Annotated[float, Meta(ge=0, le=1)]
Words = Annotated[str, Meta(min_length=1)]


class Cache(Struct):
    """The end of a prefix that is kept."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | UnsetType = UNSET


class Block(Struct, tag_field="type", forbid_unknown_fields=True, kw_only=True):
    """What all parts have."""

    cache_control: Cache | None = None


class TextBlock(Block, tag="text", kw_only=True):
    """Words."""

    text: Words
    citations: list[Object] | None = None


class ImageBlock(Block, tag="image", kw_only=True):
    """A picture."""

    source: Object


class DocumentBlock(Block, tag="document", kw_only=True):
    """A file."""

    source: Object
    title: str | None = None
    context: str | None = None
    citations: Object | None = None


class ThinkingBlock(Struct, tag_field="type", tag="thinking", forbid_unknown_fields=True):
    """What the model thought, with its signature."""

    thinking: str
    signature: Annotated[str, Meta(pattern="^[A-Za-z0-9+/_=-]+$")]


class RedactedBlock(Struct, tag_field="type", tag="redacted_thinking", forbid_unknown_fields=True):
    """What the model thought, sealed."""

    data: str


class UseBlock(Block, tag="tool_use", kw_only=True):
    """A tool call of an earlier turn."""

    id: Annotated[str, Meta(pattern="^[a-zA-Z0-9_-]+$")]
    name: Annotated[str, Meta(min_length=1, max_length=200)]
    input: Object
    caller: Object | None = None


class ResultBlock(Block, tag="tool_result", kw_only=True):
    """What a tool gave."""

    tool_use_id: Annotated[str, Meta(pattern="^[a-zA-Z0-9_-]+$")]
    content: str | list[TextBlock | ImageBlock | DocumentBlock] | UnsetType = UNSET
    is_error: bool | UnsetType = UNSET


Part = TextBlock | ImageBlock | DocumentBlock | ThinkingBlock | RedactedBlock | UseBlock | ResultBlock


class Message(Struct, forbid_unknown_fields=True):
    """One turn."""

    role: Literal["user", "assistant", "system"]
    content: Words | list[Part]


class ToolOf(Struct):
    """A tool."""

    name: Annotated[str, Meta(pattern="^[a-zA-Z0-9_-]{1,128}$")]
    input_schema: Object | UnsetType = UNSET
    description: str | UnsetType = UNSET
    type: str | None = None
    strict: bool | UnsetType = UNSET
    cache_control: Cache | None = None


class ToolChoice(Struct, forbid_unknown_fields=True):
    """Whether a tool is to be called."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | UnsetType = UNSET
    disable_parallel_tool_use: bool | UnsetType = UNSET


class Thought(Struct):
    """Whether and how long the model thinks before it answers."""

    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: Annotated[int, Meta(ge=1024)] | UnsetType = UNSET


class Count(Struct):
    """`/v1/messages/count_tokens`."""

    model: str
    messages: Annotated[list[Message], Meta(min_length=1)]


class Messages(Struct):
    """`/v1/messages`."""

    model: str
    messages: Annotated[list[Message], Meta(min_length=1)]
    max_tokens: Annotated[int, Meta(ge=1)]
    system: str | list[TextBlock] | UnsetType = UNSET
    stream: bool | UnsetType = UNSET
    tools: list[ToolOf] | UnsetType = UNSET
    tool_choice: ToolChoice | UnsetType = UNSET
    temperature: Unit | UnsetType = UNSET
    top_p: Unit | UnsetType = UNSET
    top_k: Annotated[int, Meta(ge=0)] | UnsetType = UNSET
    stop_sequences: list[Words] | UnsetType = UNSET
    metadata: Object | UnsetType = UNSET
    thinking: Thought | UnsetType = UNSET
    output_config: Object | UnsetType = UNSET


def problem(kind: str, body: Any) -> str:
    """What Anthropic would refuse; empty for nothing."""
    found = fits(body, Count if kind == "tokens" else Messages)
    if found or kind == "tokens":
        return found
    for tool in body.get("tools") or ():
        if tool.get("type") in (None, "custom") and "input_schema" not in tool:
            return f"tools: {tool['name']} has no `input_schema`"
    if body.get("tool_choice") and not body.get("tools"):
        return "`tool_choice` may only be given together with `tools`"
    budget = (body.get("thinking") or {}).get("budget_tokens")
    if budget is not None and budget >= body["max_tokens"]:
        return "`max_tokens` must be greater than `thinking.budget_tokens`"
    return _order(body["messages"])


def _order(messages: list[Any]) -> str:
    """Each call of a tool is answered at the head of the next turn, and nothing else is."""
    waiting: set[str] = set()
    for number, message in enumerate(messages):
        parts = message["content"] if isinstance(message["content"], list) else []
        place = f"messages.{number}"
        if not number and message["role"] != "user":
            return f"{place}: the first message must use the `user` role"
        results = [part["tool_use_id"] for part in parts if part["type"] == "tool_result"]
        uses = {part["id"] for part in parts if part["type"] == "tool_use"}
        if any(one not in waiting for one in results):
            return f"{place}: unexpected `tool_use_id` in `tool_result` blocks"
        if waiting - set(results):
            return f"{place}: `tool_use` ids were found without `tool_result` blocks: {sorted(waiting - set(results))}"
        if results and any(part["type"] != "tool_result" for part in parts[: len(results)]):
            return f"{place}: `tool_result` blocks must come first"
        if uses and message["role"] != "assistant":
            return f"{place}: `tool_use` blocks can only be in `assistant` messages"
        waiting = uses
    return f"`tool_use` ids were found without `tool_result` blocks: {sorted(waiting)}" if waiting else ""
