"""The way of a call to an upstream that speaks another shape: through the neutral conversation, there and back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ...core.errors import Unavailable
from ..contract.calls import Usage
from ..ports import Dialect, Form, Renderer, Wire
from ..wire.conversation import CallPart, Conversation, Counted, Ended, Step, Thought, Words
from .asked import Asked
from .ways import Watch, Way, Whole


class Translated(Way):
    """One client's form over one dialect."""

    passes = False

    def __init__(self, form: Form, dialect: Dialect, model: str) -> None:
        self._form = form
        self._dialect = dialect
        self._model = model

    def wire(self, asked: Asked, most_out: int | None) -> Wire:
        conversation = self._form.parse(asked.ask)
        if most_out is not None:
            conversation = replace(conversation, most_tokens=most_out)
        return self._dialect.request(conversation, self._model)

    def whole(self, asked: Asked, body: bytes) -> Whole:
        answer = self._dialect.answer(body)
        told = self._form.whole(answer, asked=self._form.parse(asked.ask), model=asked.model)
        return Whole(told, answer.usage, answer.stop)

    def watch(self, asked: Asked) -> Watch:
        conversation = self._form.parse(asked.ask)
        return _Rendered(self._dialect, self._form, conversation, asked.model)


class _Rendered(Watch):
    """A stream that is read in one form and written in another."""

    def __init__(self, dialect: Dialect, form: Form, asked: Conversation, model: str) -> None:
        self._reader = dialect.reader()
        self._renderer: Renderer = form.renderer(asked=asked, model=model)
        self._usage: Usage | None = None
        self._finish = ""
        self._events = 0

    @property
    def usage(self) -> Usage | None:
        return self._usage

    @property
    def finish(self) -> str:
        return self._finish

    @property
    def events(self) -> int:
        return self._events

    def feed(self, data: bytes) -> bytes:
        return self._written(self._reader.feed(data))

    def close(self) -> bytes:
        last = self._written(self._reader.close())
        if not self._finish:
            raise Unavailable("the upstream ended its stream before the answer was complete")
        return last + self._renderer.end()

    def _written(self, steps: Iterable[Step]) -> bytes:
        told = []
        for step in steps:
            if isinstance(step, Counted):
                self._usage = step.usage
            elif isinstance(step, Ended):
                self._finish = step.stop
            elif isinstance(step, Words | Thought | CallPart):
                self._events += 1
            told.append(self._renderer.step(step))
        return b"".join(told)
