"""Anthropic's messages as an upstream.

Source: Anthropic's API reference; what its own layer for OpenAI's clients does with fields that it lacks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from ...core.errors import Unavailable
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
from ..wire.counts import MESSAGES_STOPS, merged, usage_of_messages
from ..wire.extra import passed_on
from ..wire.messages.writing import written_output, written_tools, written_turns
from ..wire.reading import wrong
from ..wire.sse import Event, SseReader
from .documents import decoded, listed, mapped, text
from .errors import failure_in

_NAME = "an upstream of Anthropic's form"
VERSION = "2023-06-01"
TAKEN = frozenset({"service_tier", "container", "inference_geo", "speed"})


class AnthropicDialect(Dialect):
    """Messages of an upstream.

    `most_tokens` is the limit on the answer where the client set none: this API demands one. A temperature above 1,
    which it does not know, is asked for as 1; a seed is left out.
    """

    def __init__(self, *, path: str = "/v1/messages", most_tokens: int = 4096, taken: Collection[str] = TAKEN) -> None:
        self._path = path
        self._most_tokens = most_tokens
        self._taken = frozenset(taken)

    def request(self, asked: Conversation, model: str) -> Wire:
        """Raises InvalidInput for what the upstream cannot do."""
        if asked.answers != 1:
            raise wrong("$.n", f"{_NAME} gives one answer only")
        if asked.logprobs is not None:
            raise wrong("$.logprobs", f"{_NAME} gives no log probabilities")
        written: dict[str, Any] = {"model": model, "max_tokens": asked.most_tokens or self._most_tokens}
        written.update(written_turns(asked.turns))
        written.update(written_tools(asked))
        written.update(written_output(asked))
        written.update(_sampling(asked))
        written.update(passed_on(asked.extra, self._taken, _NAME))
        return Wire(self._path, msgspec.json.encode(written), {"anthropic-version": VERSION})

    def answer(self, body: bytes) -> Answer:
        """Raises Unavailable for a document that is no answer of this dialect."""
        held = decoded(body, _NAME)
        if held.get("type") == "error":
            raise failure_in(held.get("error"), upstream=_NAME)
        if held.get("type") != "message":
            raise Unavailable(f"{_NAME} answered without a message")
        parts = [part for block in listed(held.get("content")) for part in _part(mapped(block))]
        return Answer(
            id=text(held, "id"),
            model=text(held, "model"),
            parts=parts,
            stop=_stop(held.get("stop_reason")),
            usage=usage_of_messages(held.get("usage")),
        )

    def reader(self) -> Reader:
        """For one streamed answer."""
        return AnthropicReader()


class AnthropicReader(Reader):
    """Reads `message_start` to `message_stop`."""

    def __init__(self) -> None:
        self._events = SseReader()
        self._counts: Mapping[str, Any] = {}
        self._reason: object = None
        self._calls: dict[int, int] = {}
        self._silent: set[int] = set()

    def feed(self, data: bytes) -> Iterator[Step]:
        """Raises Unavailable for what is not the dialect's stream, and the upstream's own error where it tells one."""
        for event in self._events.feed(data):
            yield from self._steps(event)

    def close(self) -> Sequence[Step]:
        """Only `message_stop` ends an answer; the end of the bytes alone does not."""
        return [step for event in self._events.close() for step in self._steps(event)]

    def _steps(self, event: Event) -> list[Step]:
        held = decoded(event.data, _NAME)
        match held.get("type"):
            case "message_start":
                message = mapped(held.get("message"))
                return [Began(text(message, "id"), text(message, "model")), *self._counted(message.get("usage"))]
            case "content_block_start":
                return self._block(held.get("index"), mapped(held.get("content_block")))
            case "content_block_delta":
                return self._delta(held.get("index"), mapped(held.get("delta")))
            case "content_block_stop":
                return self._closed(held.get("index"))
            case "message_delta":
                reason = mapped(held.get("delta")).get("stop_reason")
                self._reason = self._reason if reason is None else reason
                return self._counted(held.get("usage"))
            case "message_stop":
                return [Ended(_stop(self._reason))]
            case "error":
                raise failure_in(held.get("error"), upstream=_NAME)
            case _:
                return []  # a ping, or an event that is newer than this reader: its API says to leave these out

    def _counted(self, counts: object) -> list[Step]:
        self._counts = merged(self._counts, counts)
        usage = usage_of_messages(self._counts)
        return [] if usage is None else [Counted(usage)]

    def _block(self, place: object, block: Mapping[str, Any]) -> list[Step]:
        kind = block.get("type")
        if kind == "tool_use" and isinstance(place, int):
            index = self._calls[place] = len(self._calls)
            self._silent.add(place)
            steps: list[Step] = [CallBegan(index, text(block, "id"), text(block, "name"))]
            # Some servers of this form send the arguments at once and no pieces.
            if given := mapped(block.get("input")):
                self._silent.discard(place)
                steps.append(CallPart(index, msgspec.json.encode(given).decode()))
            return steps
        if kind == "redacted_thinking":
            return [Thought(signature=text(block, "data"), redacted=True)]
        if kind == "thinking":
            return _thought(block)
        words = text(block, "text") if kind == "text" else ""
        return [Words(words)] if words else []

    def _delta(self, place: object, delta: Mapping[str, Any]) -> list[Step]:
        match delta.get("type"):
            case "text_delta":
                return [Words(text(delta, "text"))]
            case "thinking_delta" | "signature_delta":
                return _thought(delta)
            case "input_json_delta" if isinstance(place, int) and place in self._calls:
                arguments = text(delta, "partial_json")
                if not arguments:
                    return []
                self._silent.discard(place)
                return [CallPart(self._calls[place], arguments)]
            case _:
                return []

    def _closed(self, place: object) -> list[Step]:
        """A call without arguments has no pieces here; elsewhere its arguments are an empty object."""
        if not isinstance(place, int) or place not in self._silent:
            return []
        self._silent.discard(place)
        return [CallPart(self._calls[place], "{}")]


def _thought(held: Mapping[str, Any]) -> list[Step]:
    thought, signature = text(held, "thinking"), text(held, "signature")
    return [Thought(thought, signature)] if thought or signature else []


def _part(block: Mapping[str, Any]) -> list[Text | Thinking | ToolCall]:
    match block.get("type"):
        case "text":
            return [Text(text(block, "text"))]
        case "thinking":
            return [Thinking(text(block, "thinking"), text(block, "signature"))]
        case "redacted_thinking":
            return [Thinking("", text(block, "data"), redacted=True)]
        case "tool_use":
            arguments = msgspec.json.encode(mapped(block.get("input"))).decode()
            return [ToolCall(text(block, "id"), text(block, "name"), arguments)]
        case _:
            return []


def _sampling(asked: Conversation) -> dict[str, Any]:
    written: dict[str, Any] = {
        "temperature": None if asked.temperature is None else min(1.0, asked.temperature),
        "top_p": asked.top_p,
        "top_k": asked.top_k,
        "stop_sequences": list(asked.stop) or None,
        "metadata": None if asked.user is None else {"user_id": asked.user},
        "stream": asked.stream or None,
    }
    return {name: value for name, value in written.items() if value is not None}


def _stop(reason: object) -> Stop:
    return MESSAGES_STOPS.get(str(reason), "stop")
