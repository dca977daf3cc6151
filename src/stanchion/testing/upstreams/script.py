"""What a scripted upstream is told to say, what it heard, and what it counted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from stanchion.core.values import Json

Kind = Literal["chat", "completions", "responses", "embeddings", "rerank", "messages", "tokens", "models"]
Stop = Literal["stop", "length", "tool_calls", "content_filter", "refusal"]
FaultKind = Literal[
    "latency",
    "slow_first_byte",
    "throttled",
    "failed",
    "overloaded",
    "reset",
    "reset_after_head",
    "cut",
    "no_end",
    "malformed",
    "garbled",
    "content_type",
    "error_in_stream",
    "hang",
]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer. `cached` and `cache_writes` are among `tokens_in`, `reasoning` among `tokens_out`."""

    tokens_in: int = 0
    tokens_out: int = 0
    cached: int = 0
    cache_writes: int = 0
    reasoning: int = 0


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool. `arguments` as a text is sent as it is: also one that is no JSON, where the form can say it."""

    name: str
    arguments: Mapping[str, Json] | str = field(default_factory=dict)
    id: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of a model.

    `json` is the text as a JSON document. `stop` is by itself `tool_calls` where there are calls, and else `stop`.
    `usage` is counted from the words where it is None (a token for four characters). In a stream the text comes in
    `pieces`, or in words where that is None, `pace` seconds apart, and `wait` is called before each event with its
    number from 0: a test holds the stream there. `signature` comes with `thinking`, in the forms that have one.
    `logprobs` is the log probability of each word, given back where the request asks for it. `vectors` and `scores`
    answer embeddings and rerank; else both come from the words.
    """

    text: str = ""
    json: Json = None
    calls: Sequence[ToolCall] = ()
    thinking: str = ""
    signature: str = ""
    stop: Stop | None = None
    usage: Usage | None = None
    logprobs: float = -0.25
    vectors: Sequence[Sequence[float]] | None = None
    scores: Sequence[float] | None = None
    pieces: Sequence[str] | None = None
    pace: float = 0.0
    wait: Callable[[int], Awaitable[None]] | None = None
    model: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fault:
    """One way for a call to go wrong.

    | kind | what the caller sees |
    |---|---|
    | `latency` | the answer, `seconds` late |
    | `slow_first_byte` | the head at once, the body `seconds` late |
    | `throttled` | 429, with Retry-After where `retry_after` is set |
    | `failed`, `overloaded` | 500; 529 (503 where the family has no 529) |
    | `reset` | the connection reset before a byte of the answer |
    | `reset_after_head` | the connection reset behind the head |
    | `cut` | the connection closed behind `after` events of a stream, or in the middle of a whole answer |
    | `no_end` | the body ends as HTTP wants it, without what says that the answer is whole |
    | `malformed` | `after` events, then one that cannot be read |
    | `garbled` | the same, and behind it the other events with the proper end |
    | `content_type` | 200 with a page of HTML |
    | `error_in_stream` | `after` events, then the family's error event; 500 for a whole answer |
    | `hang` | nothing, until the caller goes or the server stops |
    """

    kind: FaultKind
    seconds: float = 0.0
    retry_after: float | None = None
    after: int = 2


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it came. `prompt` is the text of its last message, in any family."""

    number: int
    kind: Kind
    model: str
    stream: bool
    prompt: str
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """In lower case."""
    raw: bytes
    body: Any
    """The JSON document."""
    at: datetime


@dataclass(frozen=True, slots=True)
class Served:
    """What an upstream would bill for a call. Of a stream that broke off or was left, the words sent so far.

    `whole` tells whether everything was handed to the network.
    """

    call: Call
    model: str
    usage: Usage
    whole: bool


Says = Reply | str
Script = Says | Sequence[Says] | Callable[[Call], Says | Awaitable[Says]]
"""One answer for every call; a list, one for each conversation in order of arrival; or a function of the call.

A call that a fault spoils uses up no reply of a list. Behind its end the server answers 500 and says so.
Embeddings and rerank take nothing from a list.
"""
Faults = Mapping[Fault, float] | Sequence[Fault | None]
"""By probability (the rest goes well), or by position: one for each call, none for the calls behind the last."""
