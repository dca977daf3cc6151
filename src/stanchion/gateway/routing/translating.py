"""The way of a call to an upstream that speaks another shape: through the neutral conversation, there and back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ...core.errors import StanchionError, Unavailable
from ..contract.calls import Usage
from ..ports import Dialect, Form, Renderer, Wire
from ..wire.conversation import CallPart, Conversation, Counted, Ended, Step, Thought, Words
from ..wire.reading import wrong
from .asked import Asked
from .ways import Watch, Way, Whole

MOST_ANSWERS = 8


class Translated(Way):
    """One client's form over one dialect."""

    passes = False

    def __init__(self, form: Form, dialect: Dialect, model: str) -> None:
        self._form = form
        self._dialect = dialect
        self._model = model

    def times(self, asked: Asked) -> int:
        # These upstreams give one answer to a call. A stream of several is refused by the dialect.
        return 1 if asked.streams else asked.answers

    def wire(self, asked: Asked, most_out: int | None) -> Wire:
        conversation = self._form.parse(asked.ask)
        if asked.answers > MOST_ANSWERS:
            raise wrong("$.n", f"At most {MOST_ANSWERS} answers are asked of an upstream of another form")
        if self.times(asked) > 1:
            conversation = replace(conversation, answers=1)
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
        self._failure: StanchionError | None = None

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

    def check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def close(self) -> bytes:
        last = self._written(self._reader.close())
        self.check()
        if not self._finish:
            raise Unavailable("the upstream ended its stream before the answer was complete")
        return last + self._renderer.end()

    def _written(self, steps: Iterable[Step]) -> bytes:
        told: list[bytes] = []
        try:
            for step in steps:
                told.append(self._renderer.step(step))
                self._note(step)
        except StanchionError as error:
            # The steps before the fault have been read, and the client has a right to them.
            self._failure = error
        return b"".join(told)

    def _note(self, step: Step) -> None:
        if isinstance(step, Counted):
            self._usage = step.usage
        elif isinstance(step, Ended):
            self._finish = step.stop
        elif isinstance(step, Words | Thought | CallPart):
            self._events += 1
