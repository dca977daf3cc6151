"""Amazon Bedrock as an upstream, by Converse: one form for the models of many makers.

Source: the reference of the Amazon Bedrock runtime.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from ...core.errors import Unavailable
from ..contract.calls import Usage
from ..ports import Dialect, Reader, Wire
from ..wire.conversation import (
    Answer,
    Began,
    CallBegan,
    CallPart,
    Conversation,
    Counted,
    Ended,
    Step,
    Stop,
    Text,
    Thinking,
    Thought,
    ToolCall,
    Words,
)
from ..wire.extra import passed_on
from ..wire.reading import wrong
from .bedrock_writing import NAME, messages, output, own, tools
from .documents import decoded, listed, mapped, text
from .errors import failure_in
from .eventstream import EventStream, Message

_STOPS: Mapping[str, Stop] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    "refusal": "refusal",
}
_STATUS = {
    "throttlingException": 429,
    "validationException": 400,
    "serviceUnavailableException": 503,
}


def _new_id() -> str:
    return f"bedrock-{secrets.token_hex(12)}"


class BedrockDialect(Dialect):
    """Converse of an upstream, whole and as an event stream. Its base URL is the part before `/model`.

    A temperature above 1, which Converse does not know, is asked for as 1; a seed is left out. Answers have no id of
    their own here: `new_id` makes one. The request is signed by whoever sends it: see `sigv4`.
    """

    def __init__(self, *, new_id: Callable[[], str] = _new_id) -> None:
        self._new_id = new_id

    def request(self, asked: Conversation, model: str) -> Wire:
        """Raises InvalidInput for what the upstream cannot do."""
        if asked.answers != 1:
            raise wrong("$.n", f"{NAME} gives one answer only")
        if asked.logprobs is not None:
            raise wrong("$.logprobs", f"{NAME} gives no log probabilities")
        passed_on(asked.extra, (), NAME)
        written = {**messages(asked.turns), **tools(asked), **output(asked), **own(asked, model)}
        inference = _inference(asked)
        if inference:
            written["inferenceConfig"] = inference
        verb = "converse-stream" if asked.stream else "converse"
        return Wire(f"/model/{quote(model, safe='')}/{verb}", msgspec.json.encode(written))

    def answer(self, body: bytes) -> Answer:
        """Raises Unavailable for a document that is no answer of this dialect."""
        held = decoded(body, NAME)
        message = mapped(mapped(held.get("output")).get("message"))
        if not message:
            raise Unavailable(f"{NAME} answered without a message")
        return Answer(
            id=self._new_id(),
            model="",
            parts=[part for block in listed(message.get("content")) for part in _part(mapped(block))],
            stop=_stop(held.get("stopReason")),
            usage=_usage(held.get("usage")),
        )

    def reader(self) -> Reader:
        """For one streamed answer."""
        return BedrockReader(self._new_id())


class BedrockReader(Reader):
    """Reads `converse-stream`."""

    def __init__(self, answer_id: str) -> None:
        self._id = answer_id
        self._stream = EventStream()
        self._calls: dict[int, int] = {}
        self._silent: set[int] = set()

    def feed(self, data: bytes) -> Iterator[Step]:
        """Raises Unavailable for what is not the dialect's stream, and the upstream's own error where it tells one."""
        for message in self._stream.read(data):
            yield from self._steps(message)

    def close(self) -> Sequence[Step]:
        """Raises Unavailable where the bytes end within an event. Only `messageStop` ends an answer."""
        if self._stream.pending:
            raise Unavailable(f"{NAME} broke off in the middle of an event")
        return []

    def _steps(self, message: Message) -> list[Step]:
        kind = message.headers.get(":message-type", "event")
        if kind == "exception":
            name = message.headers.get(":exception-type", "")
            held = {**decoded(message.payload, NAME), "status": _STATUS.get(name, 500)}
            raise failure_in(held, upstream=NAME)
        if kind == "error":
            raise Unavailable(f"{NAME} ended the stream: {message.headers.get(':error-message', '')[:200]}")
        held = decoded(message.payload, NAME)
        given = held.get("contentBlockIndex")
        place = given if isinstance(given, int) else -1
        match message.headers.get(":event-type"):
            case "messageStart":
                return [Began(self._id, "")]
            case "contentBlockStart":
                return self._start(place, mapped(mapped(held.get("start")).get("toolUse")))
            case "contentBlockDelta":
                return self._delta(place, mapped(held.get("delta")))
            case "contentBlockStop":
                return self._closed(place)
            case "messageStop":
                return [Ended(_stop(held.get("stopReason")))]
            case "metadata":
                usage = _usage(held.get("usage"))
                return [] if usage is None else [Counted(usage)]
            case _:
                return []  # an event that is newer than this reader

    def _start(self, place: int, use: Mapping[str, Any]) -> list[Step]:
        if not use:
            return []
        index = self._calls[place] = len(self._calls)
        self._silent.add(place)
        return [CallBegan(index, text(use, "toolUseId"), text(use, "name"))]

    def _closed(self, place: int) -> list[Step]:
        """A call without arguments has no pieces here; elsewhere its arguments are an empty object."""
        if place not in self._silent:
            return []
        self._silent.discard(place)
        return [CallPart(self._calls[place], "{}")]

    def _delta(self, place: int, delta: Mapping[str, Any]) -> list[Step]:
        if words := text(delta, "text"):
            return [Words(words)]
        if arguments := text(mapped(delta.get("toolUse")), "input"):
            if place not in self._calls:
                raise Unavailable(f"{NAME} sent arguments of a tool call that has not begun")
            self._silent.discard(place)
            return [CallPart(self._calls[place], arguments)]
        thought = mapped(delta.get("reasoningContent"))
        if hidden := text(thought, "redactedContent"):
            return [Thought(signature=hidden, redacted=True)]
        words, signature = text(thought, "text"), text(thought, "signature")
        return [Thought(words, signature)] if words or signature else []


def _inference(asked: Conversation) -> dict[str, Any]:
    written = {
        "maxTokens": asked.most_tokens,
        "temperature": None if asked.temperature is None else min(1.0, asked.temperature),
        "topP": asked.top_p,
        "stopSequences": list(asked.stop) or None,
    }
    return {name: value for name, value in written.items() if value is not None}


def _part(block: Mapping[str, Any]) -> list[Text | Thinking | ToolCall]:
    if "text" in block:
        return [Text(text(block, "text"))]
    if "toolUse" in block:
        use = mapped(block["toolUse"])
        arguments = msgspec.json.encode(mapped(use.get("input"))).decode()
        return [ToolCall(text(use, "toolUseId"), text(use, "name"), arguments)]
    if "reasoningContent" in block:
        thought = mapped(block["reasoningContent"])
        if hidden := text(thought, "redactedContent"):
            return [Thinking("", hidden, redacted=True)]
        said = mapped(thought.get("reasoningText"))
        return [Thinking(text(said, "text"), text(said, "signature"))]
    if "citationsContent" in block:
        said = mapped(block["citationsContent"])
        return [Text(text(mapped(one), "text")) for one in listed(said.get("content"))]
    raise Unavailable(f"{NAME} answered with a part that no client's form has: {', '.join(block)[:80]}")


def _stop(reason: object) -> Stop:
    """Raises Unavailable where the model has failed."""
    if str(reason).startswith("malformed_"):
        raise Unavailable(f"{NAME} gave up the answer: {reason}")
    return _STOPS.get(str(reason), "stop")


def _usage(held: object) -> Usage | None:
    """Tokens in our sense: what was read from and written to the cache is added to the input."""
    if not isinstance(held, Mapping) or not held:
        return None

    def count(name: str) -> int:
        value = held.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0

    cached, writes = count("cacheReadInputTokens"), count("cacheWriteInputTokens")
    return Usage(
        tokens_in=count("inputTokens") + cached + writes,
        tokens_out=count("outputTokens"),
        cached=cached,
        cache_writes=writes,
    )
