"""The client's side of Anthropic's messages: requests in, answers and streams out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ....core.errors import InvalidInput, Unavailable
from ...contract.calls import Ask, Usage
from ..conversation import (
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
from ..counts import messages_usage
from ..faults import anthropic_error
from ..order import InOrder
from ..reading import Fields
from ..sse import event
from .request import conversation_of
from .writing import written_call, written_text, written_thinking

_encode = msgspec.json.encode
_STOPS: Mapping[Stop, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "refusal": "refusal",
}


class MessagesForm:
    """Anthropic's messages for clients."""

    def parse(self, ask: Ask) -> Conversation:
        """Raises InvalidInput with the field's path."""
        return conversation_of(Fields.of(ask.body))

    def whole(self, answer: Answer, *, asked: Conversation, model: str) -> bytes:
        """The answer as one `message`. Raises Unavailable where a tool call's arguments are no JSON object."""
        return _encode(
            {
                "id": answer.id,
                "type": "message",
                "role": "assistant",
                "model": model,
                "content": [block for part in answer.parts for block in _block(part, answer.stop)],
                "stop_reason": _STOPS[answer.stop],
                "stop_sequence": None,
                "usage": messages_usage(answer.usage or Usage()),
            }
        )

    def renderer(self, *, asked: Conversation, model: str) -> MessagesRenderer:
        """For one streamed answer."""
        return MessagesRenderer(model)


class MessagesRenderer:
    """Writes one answer as `message_start`, blocks one after another, `message_delta` and `message_stop`."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._order = InOrder()
        self._usage = Usage()
        self._stop: Stop = "stop"
        self._index = -1
        self._open = ""
        self._signed = False

    def step(self, step: Step) -> bytes:
        """The events that tell of the step. Raises Unavailable for calls whose pieces cannot be put in order."""
        return b"".join(self._step(each) for each in self._order.feed(step))

    def end(self) -> bytes:
        """The reason of the end, the count, and the mark of the end."""
        delta = {"stop_reason": _STOPS[self._stop], "stop_sequence": None}
        written = {"type": "message_delta", "delta": delta, "usage": messages_usage(self._usage)}
        return self._close() + _event(written) + _event({"type": "message_stop"})

    def fail(self, problem: Mapping[str, object]) -> bytes:
        """An error event; no mark of the end follows."""
        return _event(anthropic_error(problem))

    def _step(self, step: Step) -> bytes:
        match step:
            case Began():
                return self._start(step.id)
            case Words():
                return self._words(step.text)
            case Thought():
                return self._thought(step)
            case CallBegan():
                return self._begin("call", {"type": "tool_use", "id": step.id, "name": step.name, "input": {}})
            case CallPart():
                return self._delta({"type": "input_json_delta", "partial_json": step.arguments})
            case Ended():
                self._stop = step.stop
                return self._close()
            case Counted():
                self._usage = step.usage
                return b""

    def _start(self, answer_id: str) -> bytes:
        message: dict[str, Any] = {
            "id": answer_id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            # Most upstreams count at the end; the last event has the whole count.
            "usage": messages_usage(self._usage),
        }
        return _event({"type": "message_start", "message": message})

    def _words(self, text: str) -> bytes:
        if not text:
            return b""
        begun = b"" if self._open == "text" else self._begin("text", {"type": "text", "text": ""})
        return begun + self._delta({"type": "text_delta", "text": text})

    def _thought(self, step: Thought) -> bytes:
        if step.redacted:
            return self._begin("hidden", written_thinking(Thinking("", step.signature, redacted=True))) + self._close()
        written = b""
        if self._open != "thinking" or (step.text and self._signed):
            written += self._begin("thinking", written_thinking(Thinking("")))
        if step.text:
            written += self._delta({"type": "thinking_delta", "thinking": step.text})
        if step.signature:
            self._signed = True
            written += self._delta({"type": "signature_delta", "signature": step.signature})
        return written

    def _begin(self, kind: str, block: dict[str, Any]) -> bytes:
        closed = self._close()
        self._open, self._signed = kind, False
        self._index += 1
        return closed + _event({"type": "content_block_start", "index": self._index, "content_block": block})

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return _event({"type": "content_block_delta", "index": self._index, "delta": delta})

    def _close(self) -> bytes:
        if not self._open:
            return b""
        self._open = ""
        return _event({"type": "content_block_stop", "index": self._index})


def _block(part: Text | Thinking | ToolCall, stop: Stop) -> list[dict[str, Any]]:
    if isinstance(part, Text):
        return [written_text(part)] if part.text else []
    if isinstance(part, Thinking):
        return [written_thinking(part)]
    try:
        return [written_call(part, "$.content")]
    except InvalidInput as error:
        # The limit of tokens cut the call in two: the reason of the end says so, and half a call is none.
        if stop == "length":
            return []
        raise Unavailable("the model wrote arguments of a tool call that are no JSON object") from error


def _event(document: dict[str, Any]) -> bytes:
    return event(_encode(document), str(document["type"]))
