"""OpenAI's chat completions as an upstream, and every upstream that is compatible with it.

Whatever the client's form, a conversation is asked for in this one here. What compatible upstreams do otherwise is
known: a count under another name, calls without ids, an answer that ends with `stop` though it calls tools.
Source: OpenAI's API reference; the servers of vLLM, llama.cpp, Ollama, Mistral, DeepSeek and OpenRouter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import msgspec

from ...core.errors import Unavailable
from ..ports import Dialect, Reader, Wire
from ..wire.chat.writing import written_messages, written_tools
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
from ..wire.counts import CHAT_STOPS, usage_of_chat
from ..wire.extra import passed_on
from ..wire.reading import wrong
from ..wire.sse import Event, SseReader
from .documents import decoded, listed, mapped, text
from .errors import failure_in

_NAME = "an upstream of OpenAI's form"
TAKEN = frozenset(
    {
        "frequency_penalty",
        "presence_penalty",
        "logit_bias",
        "verbosity",
        "metadata",
        "service_tier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "prediction",
        "safety_identifier",
        "web_search_options",
    }
)


class OpenAIDialect(Dialect):
    """Chat completions of an upstream.

    `most_tokens` is the upstream's name of the limit on the answer: the older one where it knows no other (Mistral,
    Ollama). `taken` are the further fields that it takes, such as `top_k` and `min_p` of vLLM.
    """

    def __init__(
        self,
        *,
        path: str = "/chat/completions",
        most_tokens: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens",
        taken: Collection[str] = TAKEN,
    ) -> None:
        self._path = path
        self._most_tokens = most_tokens
        self._taken = frozenset(taken)

    def request(self, asked: Conversation, model: str) -> Wire:
        """Raises InvalidInput for what the upstream cannot do."""
        if asked.answers != 1:
            raise wrong("$.n", "Only one answer can be had where the call is translated")
        extra = dict(asked.extra)
        if asked.top_k is not None:
            extra["top_k"] = asked.top_k
        written: dict[str, Any] = {"model": model, "messages": written_messages(asked.turns)}
        written.update(written_tools(asked))
        written.update(_sampling(asked))
        if asked.most_tokens is not None:
            written[self._most_tokens] = asked.most_tokens
        if asked.stream:
            # The count is always asked for: what a stream costs must be known, whether or not the client wants it.
            written["stream"] = True
            written["stream_options"] = {"include_usage": True}
        written.update(passed_on(extra, self._taken, _NAME))
        return Wire(self._path, msgspec.json.encode(written))

    def answer(self, body: bytes) -> Answer:
        """Raises Unavailable for a document that is no answer of this dialect."""
        held = decoded(body, _NAME)
        if held.get("error"):
            raise failure_in(held["error"], upstream=_NAME)
        choice = mapped((listed(held.get("choices")) or [None])[0])
        message = mapped(choice.get("message"))
        if not message:
            raise Unavailable(f"{_NAME} answered without a message")
        parts = _parts(message, text(held, "id"))
        refused = bool(text(message, "refusal"))
        return Answer(
            id=text(held, "id"),
            model=text(held, "model"),
            parts=parts,
            stop=_stop(choice.get("finish_reason"), any(isinstance(p, ToolCall) for p in parts), refused),
            usage=usage_of_chat(held.get("usage")),
            logprobs=_tokens(choice.get("logprobs")),
        )

    def reader(self) -> Reader:
        """For one streamed answer."""
        return OpenAIReader()


class OpenAIReader(Reader):
    """Reads `chat.completion.chunk` events."""

    def __init__(self) -> None:
        self._events = SseReader()
        self._begun = self._ended = self._refused = False
        self._id = ""
        self._calls: dict[int, int] = {}
        self._ids: dict[int, str] = {}
        self._count = 0
        self._reason: object = None

    def feed(self, data: bytes) -> Iterator[Step]:
        """Raises Unavailable for what is not the dialect's stream, and the upstream's own error where it tells one."""
        for event in self._events.feed(data):
            yield from self._steps(event)

    def close(self) -> Sequence[Step]:
        """Upstreams exist that close the stream after the reason of the end, without `[DONE]`."""
        steps = [step for event in self._events.close() for step in self._steps(event)]
        if self._reason is not None and not self._ended:
            steps.append(self._end())
        return steps

    def _steps(self, event: Event) -> list[Step]:
        if event.data.startswith(b"[DONE]"):
            return [] if self._ended else [self._end()]
        held = decoded(event.data, _NAME)
        if held.get("error"):
            raise failure_in(held["error"], upstream=_NAME)
        steps: list[Step] = []
        if not self._begun:
            self._begun = True
            self._id = text(held, "id")
            steps.append(Began(self._id, text(held, "model")))
        for choice in listed(held.get("choices")):
            steps += self._choice(mapped(choice))
        usage = usage_of_chat(held.get("usage"))
        if usage is not None:
            steps.append(Counted(usage))
        return steps

    def _choice(self, choice: Mapping[str, Any]) -> list[Step]:
        delta, steps = mapped(choice.get("delta")), list[Step]()
        if thought := text(delta, "reasoning_content") or text(delta, "reasoning"):
            steps.append(Thought(thought))
        refusal = text(delta, "refusal")
        self._refused = self._refused or bool(refusal)
        words = text(delta, "content") + refusal
        logprobs = _tokens(choice.get("logprobs"))
        if words or logprobs:
            steps.append(Words(words, logprobs))
        for place, call in enumerate(listed(delta.get("tool_calls"))):
            steps += self._call(mapped(call), place)
        if choice.get("finish_reason") is not None:
            self._reason = choice["finish_reason"]
            if self._reason == "error":
                raise Unavailable(f"{_NAME} ended the answer with an error")
        return steps

    def _call(self, call: Mapping[str, Any], place: int) -> list[Step]:
        function = mapped(call.get("function"))
        given = call.get("index")
        key = given if isinstance(given, int) else place
        given_id, name = text(call, "id"), text(function, "name")
        # Upstreams exist that number every call 0, or none: another id beside a name is another call.
        another = bool(given_id and name) and given_id != self._ids.get(key)
        steps: list[Step] = []
        if key not in self._calls or another:
            index = self._calls[key] = self._count
            self._count += 1
            self._ids[key] = given_id
            steps.append(CallBegan(index, given_id or _made_id(self._id, index), name))
        if arguments := _arguments(function):
            steps.append(CallPart(self._calls[key], arguments))
        return steps

    def _end(self) -> Ended:
        self._ended = True
        return Ended(_stop(self._reason, bool(self._calls), self._refused))


def _sampling(asked: Conversation) -> dict[str, Any]:
    written = {
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "stop": list(asked.stop) or None,
        "seed": asked.seed,
        "reasoning_effort": asked.effort,
        "user": asked.user,
    }
    if asked.logprobs is not None:
        written.update(logprobs=True, top_logprobs=asked.logprobs or None)
    return {name: value for name, value in written.items() if value is not None}


def _parts(message: Mapping[str, Any], answer_id: str) -> list[Text | Thinking | ToolCall]:
    parts: list[Text | Thinking | ToolCall] = []
    if thought := text(message, "reasoning_content") or text(message, "reasoning"):
        parts.append(Thinking(thought))
    if words := text(message, "content") or text(message, "refusal"):
        parts.append(Text(words))
    for index, call in enumerate(listed(message.get("tool_calls"))):
        held = mapped(call)
        function = mapped(held.get("function"))
        made = ToolCall(text(held, "id") or _made_id(answer_id, index), text(function, "name"), _arguments(function))
        parts.append(made if made.arguments else replace(made, arguments="{}"))
    return parts


def _tokens(logprobs: object) -> list[Mapping[str, Any]] | None:
    """Tokens with their log probabilities; None where there are none, or what came has another form."""
    found = [mapped(each) for each in listed(mapped(logprobs).get("content"))]
    return [
        {**each, "top_logprobs": [mapped(top) for top in listed(each.get("top_logprobs"))]} for each in found if each
    ] or None


def _arguments(function: Mapping[str, Any]) -> str:
    """Arguments as JSON text; some upstreams send the object itself."""
    given = function.get("arguments")
    return given if isinstance(given, str) else "" if given is None else msgspec.json.encode(given).decode()


def _made_id(answer_id: str, index: int) -> str:
    """An id for a call that came without one: a client cannot tell what a tool gave without it."""
    return f"call_{answer_id or 'x'}_{index}"


def _stop(reason: object, calls: bool, refused: bool) -> Stop:
    if refused:
        return "refusal"
    stop = CHAT_STOPS.get(str(reason), "stop")
    return "tool_calls" if calls and stop == "stop" else stop
