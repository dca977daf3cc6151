"""The client's side of chat completions: requests in, answers and streams out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ....core.clock import Clock
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
from ..counts import chat_usage
from ..faults import openai_error
from ..reading import Fields
from ..sse import event
from .request import conversation_of

_encode = msgspec.json.encode
DONE = b"data: [DONE]\n\n"


class ChatForm:
    """Chat completions for clients."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def parse(self, ask: Ask) -> Conversation:
        """Raises InvalidInput with the field's path."""
        return conversation_of(Fields.of(ask.body))

    def whole(self, answer: Answer, *, asked: Conversation, model: str) -> bytes:
        """The answer as one `chat.completion`."""
        choice = {
            "index": 0,
            "message": _message(answer),
            "logprobs": _logprobs(answer.logprobs) if asked.logprobs is not None else None,
            "finish_reason": finish(answer.stop, refused=_refused(answer)),
        }
        written = {
            "id": answer.id,
            "object": "chat.completion",
            "created": int(self._clock.now().timestamp()),
            "model": model,
            "choices": [choice],
        }
        if answer.usage is not None:
            written["usage"] = chat_usage(answer.usage)
        return _encode(written)

    def renderer(self, *, asked: Conversation, model: str) -> ChatRenderer:
        """For one streamed answer."""
        return ChatRenderer(asked, model, int(self._clock.now().timestamp()))


class ChatRenderer:
    """Writes one answer as `chat.completion.chunk` events."""

    def __init__(self, asked: Conversation, model: str, created: int) -> None:
        self._asked = asked
        self._usage: Usage | None = None
        self._head: dict[str, Any] = {
            "id": "",
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
        }

    def step(self, step: Step) -> bytes:
        """The events that tell of the step; none for a count, which comes at the end."""
        match step:
            case Began():
                self._head["id"] = step.id
                return self._delta({"role": "assistant", "content": ""})
            case Words():
                return self._delta({"content": step.text}, logprobs=step.logprobs)
            case Thought():
                return self._delta({"reasoning_content": step.text}) if step.text else b""
            case CallBegan():
                function = {"name": step.name, "arguments": ""}
                return self._call({"index": step.index, "id": step.id, "type": "function", "function": function})
            case CallPart():
                return self._call({"index": step.index, "function": {"arguments": step.arguments}})
            case Ended():
                return self._delta({}, finish(step.stop))
            case Counted():
                self._usage = step.usage
                return b""

    def end(self) -> bytes:
        """Usage, where it was asked for and is known, and the mark of the end."""
        if not self._asked.usage_in_stream or self._usage is None:
            return DONE
        return event(_encode({**self._head, "choices": [], "usage": chat_usage(self._usage)})) + DONE

    def fail(self, problem: Mapping[str, object]) -> bytes:
        """An error event; no mark of the end follows."""
        return event(_encode(openai_error(problem)))

    def _call(self, call: dict[str, Any]) -> bytes:
        return self._delta({"tool_calls": [call]})

    def _delta(self, delta: dict[str, Any], reason: str | None = None, logprobs: Any = None) -> bytes:
        choice = {"index": self._asked.place, "delta": delta, "logprobs": None, "finish_reason": reason}
        if logprobs is not None and self._asked.logprobs is not None:
            choice["logprobs"] = _logprobs(logprobs)
        written = {**self._head, "choices": [choice]}
        if self._asked.usage_in_stream:
            written["usage"] = None
        return event(_encode(written))


def finish(stop: Stop, *, refused: bool = False) -> str:
    """Why the answer ended, in OpenAI's words. A refusal has a field of its own where its words can be put there;
    where they cannot, it is a filtered answer.
    """
    if stop == "refusal":
        return "stop" if refused else "content_filter"
    return stop


def _refused(answer: Answer) -> bool:
    return answer.stop == "refusal" and any(isinstance(part, Text) and part.text for part in answer.parts)


def _message(answer: Answer) -> dict[str, Any]:
    words = [part.text for part in answer.parts if isinstance(part, Text)]
    thoughts = [part.text for part in answer.parts if isinstance(part, Thinking) and part.text]
    calls = [part for part in answer.parts if isinstance(part, ToolCall)]
    said = "".join(words) if words else None
    refused = _refused(answer)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if refused else said,
        "refusal": said if refused else None,
    }
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    if calls:
        message["tool_calls"] = [written_call(call) for call in calls]
    return message


def written_call(call: ToolCall) -> dict[str, Any]:
    """A tool call, as requests and answers have it."""
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _logprobs(tokens: Any) -> dict[str, Any] | None:
    return None if tokens is None else {"content": list(tokens), "refusal": None}
