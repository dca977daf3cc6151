"""Google's Gemini as an upstream, by its REST interface `generateContent`.

Source: the reference of the Gemini API; its guides to function calling, structured output and thought signatures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from ...core.errors import Unavailable
from ..contract.calls import Usage
from ..ports import Dialect, Reader, Wire
from ..wire.conversation import (
    GEMINI,
    Answer,
    Began,
    CallBegan,
    CallPart,
    Conversation,
    Counted,
    Ended,
    Format,
    Step,
    Stop,
    Text,
    Thinking,
    Thought,
    ToolCall,
    Words,
)
from ..wire.extra import passed_on
from ..wire.sse import Event, SseReader
from .documents import decoded, listed, mapped, text
from .errors import failure_in
from .gemini_writing import NAME, before_3, checked, contents, thinking, tools

_TAKEN = {"frequency_penalty": "frequencyPenalty", "presence_penalty": "presencePenalty"}
_STOPS: Mapping[str, Stop] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
}


class GeminiDialect(Dialect):
    """`generateContent` of an upstream. Its base URL is the part before `/v1beta`."""

    def __init__(self, *, version: str = "v1beta") -> None:
        self._version = version

    def request(self, asked: Conversation, model: str) -> Wire:
        """Raises InvalidInput for what the upstream cannot do."""
        checked(asked)
        written = {**contents(asked.turns, signed=not before_3(model)), **tools(asked)}
        options = _options(asked, model)
        extra = passed_on(asked.extra, _TAKEN, NAME)
        options.update({_TAKEN[name]: value for name, value in extra.items()})
        if options:
            written["generationConfig"] = options
        where = model if "/" in model else f"models/{model}"
        verb = "streamGenerateContent?alt=sse" if asked.stream else "generateContent"
        return Wire(f"/{self._version}/{quote(where, safe='/')}:{verb}", msgspec.json.encode(written))

    def answer(self, body: bytes) -> Answer:
        """Raises Unavailable for a document that is no answer of this dialect."""
        held = decoded(body, NAME)
        reading = _Reading()
        steps = [*reading.document(held), reading.end()]
        if not isinstance(steps[-1], Ended):
            raise Unavailable(f"{NAME} answered without the reason of the end")
        candidate = mapped((listed(held.get("candidates")) or [None])[0])
        return Answer(
            id=text(held, "responseId"),
            model=text(held, "modelVersion"),
            parts=_gathered([step for step in steps if step is not None]),
            stop=steps[-1].stop,
            usage=_usage(held.get("usageMetadata")),
            logprobs=_logprobs(candidate) or None,
        )

    def reader(self) -> Reader:
        """For one streamed answer."""
        return GeminiReader()


class GeminiReader(Reader):
    """Reads `streamGenerateContent` as server-sent events."""

    def __init__(self) -> None:
        self._events = SseReader()
        self._reading = _Reading()

    def feed(self, data: bytes) -> Iterator[Step]:
        """Raises Unavailable for what is not the dialect's stream, and the upstream's own error where it tells one."""
        return self._steps(self._events.feed(data))

    def close(self) -> Sequence[Step]:
        """There is no mark of the end: the answer has ended if its reason has come, and then the bytes ended."""
        steps = list(self._steps(self._events.close()))
        ended = self._reading.end()
        return steps if ended is None else [*steps, ended]

    def _steps(self, events: Sequence[Event]) -> Iterator[Step]:
        for event in events:
            yield from self._reading.document(decoded(event.data, NAME))


class _Reading:
    """The documents of one answer, one after the other; a whole answer is a single one."""

    def __init__(self) -> None:
        self._begun = False
        self._id = ""
        self._calls = 0
        self._reason = ""
        self._usage: Usage | None = None

    def document(self, held: Mapping[str, Any]) -> list[Step]:
        """Its steps, without the end."""
        if held.get("error"):
            raise failure_in(mapped(held["error"]), upstream=NAME)
        steps: list[Step] = []
        if not self._begun:
            self._begun = True
            self._id = text(held, "responseId")
            steps.append(Began(self._id, text(held, "modelVersion")))
        if text(mapped(held.get("promptFeedback")), "blockReason"):
            self._reason = "PROHIBITED_CONTENT"
        for candidate in map(mapped, listed(held.get("candidates"))[:1]):
            steps += self._candidate(candidate)
        usage = _usage(held.get("usageMetadata"))
        if usage is not None and usage != self._usage:
            self._usage = usage
            steps.append(Counted(usage))
        return steps

    def end(self) -> Ended | None:
        """None before the reason of the end has come. Raises Unavailable where the model has failed."""
        if not self._reason:
            return None
        stop = _STOPS.get(self._reason)
        if stop is None:
            # What is left are faults of the model, such as MALFORMED_FUNCTION_CALL: another model may do better.
            raise Unavailable(f"{NAME} gave up the answer: {self._reason[:80]}")
        return Ended("tool_calls" if stop == "stop" and self._calls else stop)

    def _candidate(self, candidate: Mapping[str, Any]) -> list[Step]:
        steps = [
            step for part in listed(mapped(candidate.get("content")).get("parts")) for step in self._part(mapped(part))
        ]
        logprobs = _logprobs(candidate)
        if logprobs:
            steps.append(Words("", logprobs))
        self._reason = text(candidate, "finishReason") or self._reason
        return steps

    def _part(self, part: Mapping[str, Any]) -> list[Step]:
        signature = text(part, "thoughtSignature")
        signed: list[Step] = [Thought(signature=GEMINI + signature)] if signature else []
        words = text(part, "text")
        if part.get("thought") is True:
            return [Thought(words), *signed] if words else signed
        if "functionCall" in part:
            return [*signed, *self._call(mapped(part["functionCall"]))]
        if "text" not in part:
            raise Unavailable(f"{NAME} answered with a part that no client's form has: {', '.join(part)[:80]}")
        return [*signed, Words(words)] if words else signed

    def _call(self, call: Mapping[str, Any]) -> list[Step]:
        index, self._calls = self._calls, self._calls + 1
        # The older models give no ids, and a client cannot tell what a tool gave without.
        call_id = text(call, "id") or f"call_{self._id[:40]}_{index}"
        arguments = msgspec.json.encode(mapped(call.get("args"))).decode()
        return [CallBegan(index, call_id, text(call, "name")), CallPart(index, arguments)]


def _options(asked: Conversation, model: str) -> dict[str, Any]:
    written = {
        "maxOutputTokens": asked.most_tokens,
        "temperature": asked.temperature,
        "topP": asked.top_p,
        "topK": asked.top_k,
        "stopSequences": list(asked.stop) or None,
        "seed": asked.seed,
        "responseLogprobs": None if asked.logprobs is None else True,
        "logprobs": asked.logprobs or None,
        "thinkingConfig": thinking(asked, model) or None,
        **_format(asked.format),
    }
    return {name: value for name, value in written.items() if value is not None}


def _format(form: Format | None) -> dict[str, Any]:
    if form is None:
        return {}
    return {"responseMimeType": "application/json", "responseJsonSchema": form.schema or None}


def _gathered(steps: Sequence[Step]) -> list[Text | Thinking | ToolCall]:
    """The steps of a whole answer as its parts; each text of it stays a part."""
    parts: list[Text | Thinking | ToolCall] = []
    for step in steps:
        last = parts[-1] if parts else None
        match step:
            case Words() if step.text:
                parts.append(Text(step.text))
            case Thought() if isinstance(last, Thinking) and not last.signature:
                parts[-1] = Thinking(last.text + step.text, step.signature)
            case Thought():
                parts.append(Thinking(step.text, step.signature))
            case CallBegan():
                parts.append(ToolCall(step.id, step.name, ""))
            case CallPart() if isinstance(last, ToolCall):
                parts[-1] = ToolCall(last.id, last.name, step.arguments)
            case _:
                pass
    return parts


def _usage(held: object) -> Usage | None:
    """Tokens in our sense: thoughts are among those out, and what Gemini's own tools read is among those in."""
    if not isinstance(held, Mapping) or not held:
        return None

    def count(name: str) -> int:
        value = held.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0

    thoughts = count("thoughtsTokenCount")
    return Usage(
        tokens_in=count("promptTokenCount") + count("toolUsePromptTokenCount"),
        tokens_out=count("candidatesTokenCount") + thoughts,
        cached=count("cachedContentTokenCount"),
        reasoning=thoughts,
    )


def _logprobs(candidate: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Gemini's log probabilities in the form of OpenAI's."""
    result = mapped(candidate.get("logprobsResult"))
    tops = listed(result.get("topCandidates"))
    found: list[Mapping[str, Any]] = []
    for place, one in enumerate(map(mapped, listed(result.get("chosenCandidates")))):
        top = listed(mapped(tops[place]).get("candidates")) if place < len(tops) else []
        found.append({**_token(one), "top_logprobs": [_token(mapped(other)) for other in top]})
    return found


def _token(held: Mapping[str, Any]) -> dict[str, Any]:
    token = text(held, "token")
    # Zero is left out of documents that are made from protocol buffers.
    return {"token": token, "logprob": held.get("logProbability", 0.0), "bytes": list(token.encode())}
