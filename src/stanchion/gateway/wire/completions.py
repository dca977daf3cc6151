"""OpenAI's older completions, for clients that still send a bare prompt to a model that takes conversations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ...core.clock import Clock
from ..contract.calls import Ask, Usage
from .chat.form import DONE
from .chat.request import sampling
from .conversation import Answer, Began, Conversation, Counted, Ended, Step, Stop, Text, Turn, Words
from .counts import chat_usage
from .faults import openai_error
from .reading import Fields, wrong
from .sse import event


class CompletionsForm:
    """Completions for clients: the prompt becomes what a user says."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def parse(self, ask: Ask) -> Conversation:
        """Raises InvalidInput with the field's path; for a prompt of tokens or several prompts too."""
        fields = Fields.of(ask.body)
        fields.ignore("model")
        options = fields.inner("stream_options")
        prompt = fields.raw("prompt")
        if isinstance(prompt, list) and len(prompt) == 1:
            prompt = prompt[0]
        if not isinstance(prompt, str):
            raise wrong("$.prompt", "Only one prompt, as text, can be taken where the call is translated")
        return Conversation(
            turns=(Turn("user", (Text(prompt),)),),
            stop=fields.texts("stop"),
            logprobs=fields.whole("logprobs"),
            usage_in_stream=bool(options and options.flag("include_usage")),
            **sampling(fields, "max_tokens"),
        )

    def whole(self, answer: Answer, *, asked: Conversation, model: str) -> bytes:
        """The answer as one `text_completion`."""
        text = "".join(part.text for part in answer.parts if isinstance(part, Text))
        logprobs = answer.logprobs if asked.logprobs is not None else None
        written = _head(answer.id, model, self._now())
        written["choices"] = [_choice(text, answer.stop, logprobs)]
        if answer.usage is not None:
            written["usage"] = chat_usage(answer.usage)
        return msgspec.json.encode(written)

    def renderer(self, *, asked: Conversation, model: str) -> CompletionsRenderer:
        """For one streamed answer."""
        return CompletionsRenderer(asked, _head("", model, self._now()))

    def _now(self) -> int:
        return int(self._clock.now().timestamp())


class CompletionsRenderer:
    """Writes one answer as `text_completion` events. Thoughts and tool calls have no place in this form."""

    def __init__(self, asked: Conversation, head: dict[str, Any]) -> None:
        self._asked, self._head = asked, head
        self._usage: Usage | None = None
        self._offset = 0

    def step(self, step: Step) -> bytes:
        """The events that tell of the step; may be empty."""
        match step:
            case Began():
                self._head["id"] = step.id
            case Words():
                found = step.logprobs if self._asked.logprobs is not None else None
                choice = _choice(step.text, None, found, self._offset)
                self._offset += len(step.text)
                return self._event([choice])
            case Ended():
                return self._event([_choice("", step.stop)])
            case Counted():
                self._usage = step.usage
        return b""

    def end(self) -> bytes:
        """Usage, where it was asked for and is known, and the mark of the end."""
        if not self._asked.usage_in_stream or self._usage is None:
            return DONE
        return event(msgspec.json.encode({**self._head, "choices": [], "usage": chat_usage(self._usage)})) + DONE

    def fail(self, problem: Mapping[str, object]) -> bytes:
        """An error event; no mark of the end follows."""
        return event(msgspec.json.encode(openai_error(problem)))

    def _event(self, choices: list[dict[str, Any]]) -> bytes:
        placed = [{**choice, "index": self._asked.place} for choice in choices]
        return event(msgspec.json.encode({**self._head, "choices": placed}))


def _head(answer_id: str, model: str, created: int) -> dict[str, Any]:
    return {"id": answer_id, "object": "text_completion", "created": created, "model": model}


def _choice(
    text: str, stop: Stop | None, tokens: Sequence[Mapping[str, Any]] | None = None, offset: int = 0
) -> dict[str, Any]:
    """A choice; this form knows three reasons of an end."""
    reason = stop if stop in (None, "stop", "length") else "stop" if stop == "tool_calls" else "content_filter"
    return {"index": 0, "text": text, "finish_reason": reason, "logprobs": _logprobs(tokens, offset)}


def _logprobs(tokens: Sequence[Mapping[str, Any]] | None, offset: int) -> dict[str, Any] | None:
    if tokens is None:
        return None
    words = [str(each.get("token", "")) for each in tokens]
    tops = [{str(t.get("token", "")): t.get("logprob") for t in each.get("top_logprobs") or ()} for each in tokens]
    places = [offset + sum(map(len, words[:place])) for place in range(len(words))]
    chances = [each.get("logprob") for each in tokens]
    return {"tokens": words, "token_logprobs": chances, "top_logprobs": tops, "text_offset": places}
