"""Streams of the Responses API: numbered events that open, fill and close one item after another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ...contract.calls import Usage
from ..conversation import (
    Began,
    CallBegan,
    CallPart,
    Conversation,
    Counted,
    Ended,
    Step,
    Stop,
    Thinking,
    Thought,
    ToolCall,
    Words,
)
from ..faults import openai_error
from ..order import InOrder
from ..sse import event
from .document import call, message, reasoning, response, said, thought_id, tokens


class ResponsesRenderer:
    """Writes one answer as events from `response.created` to `response.completed` or `response.incomplete`."""

    def __init__(self, asked: Conversation, model: str, created: int) -> None:
        self._asked, self._model, self._created = asked, model, created
        self._order = InOrder()
        self._number = -1
        self._id = ""
        self._items: list[dict[str, Any]] = []
        self._open = ""
        self._held: list[str] = []
        self._logprobs: list[Mapping[str, Any]] = []
        self._made = ToolCall("", "", "")
        self._signature = ""
        self._usage: Usage | None = None
        self._stop: Stop = "stop"

    def step(self, step: Step) -> bytes:
        """The events that tell of the step. Raises Unavailable for calls whose pieces cannot be put in order."""
        return b"".join(self._step(each) for each in self._order.feed(step))

    def end(self) -> bytes:
        """The event with the whole response."""
        # The words of a refusal have gone out as text by now: the end says that they are no answer.
        stop: Stop = "content_filter" if self._stop == "refusal" else self._stop
        closed, whole = self._close(), self._response(stop)
        return closed + self._event(f"response.{whole['status']}", response=whole)

    def fail(self, problem: Mapping[str, object]) -> bytes:
        """An error event; no end follows. Official clients raise on its `error`, others read the fields beside it."""
        held = openai_error(problem)["error"]
        fields = {name: held[name] for name in ("code", "message", "param")}
        return self._event("error", **fields, error=held)

    def _step(self, step: Step) -> bytes:
        match step:
            case Began():
                self._id = step.id
                created = self._event("response.created", response=self._response(None))
                return created + self._event("response.in_progress", response=self._response(None))
            case Words():
                return self._words(step)
            case Thought():
                return self._thought(step)
            case CallBegan():
                closed = self._close()
                self._made = ToolCall(step.id, step.name, "")
                return closed + self._begin("call", call(f"fc_{self._place}", self._made, status="in_progress"))
            case CallPart():
                self._held.append(step.arguments)
                return self._delta("response.function_call_arguments.delta", step.arguments)
            case Ended():
                self._stop = step.stop
                return self._close()
            case Counted():
                self._usage = step.usage
                return b""

    def _words(self, step: Words) -> bytes:
        begun = b""
        if self._open != "text":
            begun = self._close() + self._begin("text", message(f"msg_{self._place}", [], status="in_progress"))
            begun += self._event("response.content_part.added", **self._where(), content_index=0, part=said(""))
        found = step.logprobs if self._asked.logprobs is not None else None
        self._held.append(step.text)
        self._logprobs += found or ()
        return begun + self._delta("response.output_text.delta", step.text, content_index=0, logprobs=tokens(found))

    def _thought(self, step: Thought) -> bytes:
        if step.redacted:
            item = reasoning(self._thought_id(hidden=True), Thinking("", step.signature, redacted=True))
            return self._close() + self._begin("hidden", item) + self._close()
        written = b""
        if self._open != "thinking" or (step.text and self._signature):
            written = self._close() + self._begin("thinking", reasoning(self._thought_id(), Thinking("")))
        self._signature += step.signature
        if not step.text:
            return written
        if not self._held:
            part = {"type": "summary_text", "text": ""}
            written += self._event("response.reasoning_summary_part.added", **self._where(), summary_index=0, part=part)
        self._held.append(step.text)
        return written + self._delta("response.reasoning_summary_text.delta", step.text, summary_index=0)

    def _begin(self, kind: str, item: dict[str, Any]) -> bytes:
        self._open = kind
        self._held, self._logprobs, self._signature = [], [], ""
        self._items.append(item)
        return self._event("response.output_item.added", output_index=len(self._items) - 1, item=item)

    def _close(self) -> bytes:
        kind, self._open = self._open, ""
        if not kind:
            return b""
        whole, item_id = "".join(self._held), self._items[-1]["id"]
        written = b""
        if kind == "text":
            written = self._text_done(whole)
            self._items[-1] = message(item_id, [said(whole, self._logprobs)])
        elif kind == "call":
            self._items[-1] = call(item_id, ToolCall(self._made.id, self._made.name, whole))
            written = self._event("response.function_call_arguments.done", **self._where(), arguments=whole)
        elif kind == "thinking":
            self._items[-1] = reasoning(item_id, Thinking(whole, self._signature))
            written = self._thought_done(whole) if whole else b""
        done = self._event("response.output_item.done", output_index=len(self._items) - 1, item=self._items[-1])
        return written + done

    def _text_done(self, whole: str) -> bytes:
        found = tokens(self._logprobs)
        done = self._event("response.output_text.done", **self._where(), content_index=0, text=whole, logprobs=found)
        part = said(whole, self._logprobs)
        return done + self._event("response.content_part.done", **self._where(), content_index=0, part=part)

    def _thought_done(self, whole: str) -> bytes:
        done = self._event("response.reasoning_summary_text.done", **self._where(), summary_index=0, text=whole)
        part = {"type": "summary_text", "text": whole}
        return done + self._event("response.reasoning_summary_part.done", **self._where(), summary_index=0, part=part)

    @property
    def _place(self) -> str:
        return f"{self._id}_{len(self._items)}"

    def _thought_id(self, *, hidden: bool = False) -> str:
        return thought_id(self._id, len(self._items), hidden=hidden)

    def _where(self) -> dict[str, Any]:
        return {"item_id": self._items[-1]["id"], "output_index": len(self._items) - 1}

    def _delta(self, kind: str, delta: str, **fields: Any) -> bytes:
        return self._event(kind, **self._where(), **fields, delta=delta)

    def _response(self, stop: Stop | None) -> dict[str, Any]:
        return response(
            self._asked,
            answer_id=self._id,
            model=self._model,
            created=self._created,
            output=self._items if stop else (),
            stop=stop,
            usage=self._usage if stop else None,
        )

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._number += 1
        return event(msgspec.json.encode({"type": kind, "sequence_number": self._number, **fields}), kind)
