"""The way of a call to an upstream that speaks another shape: through the neutral conversation, there and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ...core.errors import StanchionError, Unavailable
from ..contract.calls import Usage
from ..ports import Dialect, Form, Renderer, Wire
from ..wire.conversation import Began, CallPart, Conversation, Counted, Ended, Step, Thought, Words
from ..wire.reading import wrong
from .asked import Asked
from .joining import added
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
        # These upstreams give one answer to a call.
        return asked.answers

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
        if asked.answers == 1:
            return _Rendered(self._dialect, self._form, conversation, asked.model)
        places = [replace(conversation, answers=1, place=place) for place in range(asked.answers)]
        return _Several([_Rendered(self._dialect, self._form, each, asked.model) for each in places], asked.tokens_in)


class _Rendered(Watch):
    """A stream that is read in one form and written in another."""

    def __init__(self, dialect: Dialect, form: Form, asked: Conversation, model: str) -> None:
        self._reader = dialect.reader()
        self._renderer: Renderer = form.renderer(asked=asked, model=model)
        self._usage: Usage | None = None
        self._finish = ""
        self.id = ""
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

    def feed(self, data: bytes, call: int = 0) -> bytes:
        return self._written(self._reader.feed(data))

    def check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def close(self) -> bytes:
        return self.last() + self.end(None)

    def last(self) -> bytes:
        """The last steps. Raises Unavailable if the answer did not come to its end."""
        last = self._written(self._reader.close())
        self.check()
        if not self._finish:
            raise Unavailable("the upstream ended its stream before the answer was complete")
        return last

    def end(self, usage: Usage | None) -> bytes:
        """The mark of the end, with what was used; None: as the upstream counted."""
        counted = b"" if usage is None else self._renderer.step(Counted(usage))
        return counted + self._renderer.end()

    def _written(self, steps: Iterable[Step]) -> bytes:
        told: list[bytes] = []
        try:
            for step in steps:
                if isinstance(step, Began) and self.id:
                    step = replace(step, id=self.id)
                told.append(self._renderer.step(step))
                self._note(step)
        except StanchionError as error:
            # The steps before the fault have been read, and the client has a right to them.
            self._failure = error
        return b"".join(told)

    def _note(self, step: Step) -> None:
        if isinstance(step, Began):
            self.id = step.id
        elif isinstance(step, Counted):
            self._usage = step.usage
        elif isinstance(step, Ended):
            self._finish = step.stop
        elif isinstance(step, Words | Thought | CallPart):
            self._events += 1


class _Several(Watch):
    """Several streams written as one, each with its own number, under the id of the first that begins."""

    def __init__(self, watches: Sequence[_Rendered], tokens_in: int) -> None:
        self._watches = watches
        self._tokens_in = tokens_in
        self._id = ""

    @property
    def usage(self) -> Usage | None:
        """The sum of all; what an upstream did not count is about a token for each event."""
        return added([each.usage or self._about(each) for each in self._watches])

    @property
    def finish(self) -> str:
        # An answer that has not ended leaves the whole without an end.
        ended = [each.finish for each in self._watches]
        return ended[-1] if all(ended) else ""

    @property
    def events(self) -> int:
        return sum(each.events for each in self._watches)

    def feed(self, data: bytes, call: int = 0) -> bytes:
        watch = self._watches[call]
        if self._id:
            watch.id = self._id
        shown = watch.feed(data)
        self._id = self._id or watch.id
        return shown

    def check(self) -> None:
        for each in self._watches:
            each.check()

    def close(self) -> bytes:
        last = b"".join([each.last() for each in self._watches])
        return last + self._watches[0].end(added([each.usage for each in self._watches]))

    def _about(self, watch: _Rendered) -> Usage:
        return Usage(self._tokens_in, watch.events, estimated=True)
