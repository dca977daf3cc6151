"""A conversation, its answer and the steps of a streamed one, in no provider's form: translations meet here.

With one way in and one way out for each form, n forms need 2n translators, not n².
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ...core.values import Json
from ..contract.calls import Usage

Role = Literal["system", "user", "assistant"]
Stop = Literal["stop", "length", "tool_calls", "content_filter", "refusal"]
GEMINI = "gemini:"
"""Stands before a signature of Gemini's, so that no other provider is given it and Gemini none of theirs: a signature
of somebody else's makes a request invalid."""


@dataclass(frozen=True, slots=True)
class Text:
    """Words. `cache` marks the end of a prefix that the upstream may keep, where it can (Anthropic, Bedrock)."""

    text: str
    cache: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """A picture: base64 `data` with its `media_type`, or a `url`."""

    data: str = ""
    media_type: str = ""
    url: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Audio:
    """Sound as base64; `format` is `wav`, `mp3` and so on."""

    data: str
    format: str


@dataclass(frozen=True, slots=True)
class Document:
    """A file as base64, such as a PDF."""

    data: str
    media_type: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Thinking:
    """What a model thought; `signature` lets its provider take it back unchanged.

    Where its provider hid it, `redacted` is set, `text` is empty and `signature` is all there is.
    """

    text: str
    signature: str = ""
    redacted: bool = False


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that a model wants made. `arguments` is JSON text, as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool gave."""

    id: str
    parts: Sequence[Text | Image]
    failed: bool = False


Part = Text | Image | Audio | Document | Thinking | ToolCall | ToolResult


@dataclass(frozen=True, slots=True)
class Turn:
    """One side's turn. Tool calls are in an assistant's, tool results in a user's."""

    role: Role
    parts: Sequence[Part]


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call; `schema` is the JSON Schema of its arguments."""

    name: str
    description: str = ""
    schema: Mapping[str, Any] = field(default_factory=dict)
    strict: bool | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """Whether a tool is to be called: by itself, one of them, this one, or none."""

    mode: Literal["auto", "any", "named", "none"]
    name: str = ""
    parallel: bool | None = None


@dataclass(frozen=True, slots=True)
class Format:
    """The form of the answer: any JSON, or what fits `schema`."""

    schema: Mapping[str, Any] | None = None
    name: str = ""
    strict: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A request to a language model. None is the provider's own default. Temperature is 0 to 2, as OpenAI has it.

    `place` is which of several answers this one is, where each takes a call of its own.
    `extra` are fields of the client's form that have no meaning here; a translator that cannot pass one on says so
    with InvalidInput where dropping it would change the answer's meaning, and leaves it out where it would not.
    """

    turns: Sequence[Turn]
    tools: Sequence[Tool] = ()
    choice: Choice | None = None
    format: Format | None = None
    most_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: Sequence[str] = ()
    seed: int | None = None
    answers: int = 1
    place: int = 0
    logprobs: int | None = None
    effort: str | None = None
    thinking_tokens: int | None = None
    user: str | None = None
    stream: bool = False
    usage_in_stream: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. `logprobs` is OpenAI's list of tokens with their log probabilities, where there is one."""

    id: str
    model: str
    parts: Sequence[Text | Thinking | ToolCall]
    stop: Stop
    usage: Usage | None
    logprobs: Sequence[Mapping[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class Began:
    """The answer's first step."""

    id: str
    model: str


@dataclass(frozen=True, slots=True)
class Words:
    """More text."""

    text: str
    logprobs: Sequence[Mapping[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class Thought:
    """More thinking, or the signature at its end. With `redacted`, a hidden thought of its own."""

    text: str = ""
    signature: str = ""
    redacted: bool = False


@dataclass(frozen=True, slots=True)
class CallBegan:
    """A tool call begins; `index` counts the calls of this answer from 0."""

    index: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class CallPart:
    """More of a tool call's arguments."""

    index: int
    arguments: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The model has finished. Without this step a stream was cut off."""

    stop: Stop


@dataclass(frozen=True, slots=True)
class Counted:
    """The tokens so far: the last of several counts. May come before or after `Ended`."""

    usage: Usage


Step = Began | Words | Thought | CallBegan | CallPart | Ended | Counted
