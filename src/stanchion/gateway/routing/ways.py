"""How a call travels to one model and back: passed through where the upstream speaks its shape, else translated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ...core.errors import Unavailable
from ..contract.calls import Shape, Usage
from ..contract.specs import Kind
from ..dialects.errors import failure_in
from ..ports import Wire
from ..wire.scan import Scanner, scanner, seen
from .asked import Asked

_PATHS: Mapping[Shape, str] = {
    "chat": "/chat/completions",
    "completions": "/completions",
    "responses": "/responses",
    "embeddings": "/embeddings",
    "rerank": "/rerank",
    "messages": "/v1/messages",
}
# Servers that refuse the field tell usage in their last event unasked.
_NO_STREAM_OPTIONS: frozenset[Kind] = frozenset(("mistral",))
_TEI_EMBEDDINGS = "/v1/embeddings"
_ANTHROPIC_VERSION = "2023-06-01"


class Whole:
    """A whole answer in the client's shape: its body, its usage where the upstream told it, why it ended."""

    __slots__ = ("body", "finish", "usage")

    def __init__(self, body: bytes, usage: Usage | None, finish: str) -> None:
        self.body = body
        self.usage = usage
        self.finish = finish


class Watch(Protocol):
    """Follows one streamed answer on its way to the client."""

    @property
    def usage(self) -> Usage | None:
        """The last count so far."""
        ...

    @property
    def finish(self) -> str:
        """Why the model stopped; empty until it has."""
        ...

    @property
    def events(self) -> int:
        """How many events went on."""
        ...

    def feed(self, data: bytes, call: int = 0) -> bytes:
        """What may go on to the client now; `call` is which of the upstream's calls it came from, where there are
        several. Raises Unavailable for what is no answer."""
        ...

    def check(self) -> None:
        """To be called when that has gone on: raises what went wrong behind it in the same bytes."""
        ...

    def close(self) -> bytes:
        """The last bytes. Raises Unavailable if the answer did not come to its end."""
        ...


class Way(Protocol):
    """One shape's way to one model. `passes` tells that the client's own document travels."""

    passes: bool

    def times(self, asked: Asked) -> int:
        """How many calls the upstream needs for the answers that were asked for."""
        return 1

    def wire(self, asked: Asked, most_out: int | None) -> Wire:
        """The request to the upstream; `most_out` bounds the answer where the client did not."""
        ...

    def whole(self, asked: Asked, body: bytes) -> Whole:
        """The answer in the client's shape. Raises Unavailable for what is none."""
        ...

    def watch(self, asked: Asked) -> Watch:
        """For one streamed answer."""
        ...


class PassThrough(Way):
    """The client's own document with another model's name: every other field is what the client wrote."""

    passes = True

    def __init__(self, kind: Kind, shape: Shape, model: str) -> None:
        self._kind = kind
        self._shape = shape
        self._model = model

    def wire(self, asked: Asked, most_out: int | None) -> Wire:
        put: dict[str, Any] = {}
        if most_out is not None:
            put[self._limit()] = most_out
        if self._asks_usage(asked):
            options = asked.peek.read("stream_options")
            put["stream_options"] = {**(options if isinstance(options, Mapping) else {}), "include_usage": True}
        headers = dict(asked.ask.headers)
        if self._shape == "messages":
            headers.setdefault("anthropic-version", _ANTHROPIC_VERSION)
        path = _TEI_EMBEDDINGS if self._kind == "tei" else _PATHS[self._shape]
        return Wire(path, asked.peek.replaced(model=self._model, put=put), headers)

    def whole(self, asked: Asked, body: bytes) -> Whole:
        told = seen(self._shape, body)
        if told is None:
            raise Unavailable("the upstream answered with something that is no answer")
        if told.failed is not None:
            raise failure_in(told.failed, upstream="the upstream")
        return Whole(body, told.usage, told.finish)

    def watch(self, asked: Asked) -> Watch:
        return _Followed(scanner(self._shape, answers=asked.answers, hide_usage=self._asks_usage(asked)))

    def _asks_usage(self, asked: Asked) -> bool:
        plain = self._shape in ("chat", "completions") and self._kind not in _NO_STREAM_OPTIONS
        return plain and asked.streams and not asked.wants_usage

    def _limit(self) -> str:
        if self._shape == "responses":
            return "max_output_tokens"
        return "max_completion_tokens" if self._shape == "chat" and self._kind in ("openai", "azure") else "max_tokens"


class _Followed(Watch):
    """A stream that passes through."""

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        self._events = 0

    @property
    def usage(self) -> Usage | None:
        return self._scanner.usage

    @property
    def finish(self) -> str:
        return self._scanner.finish

    @property
    def events(self) -> int:
        return self._events

    def feed(self, data: bytes, call: int = 0) -> bytes:
        shown = self._scanner.feed(data)
        self._events += shown.count(b"data:")
        return shown

    def close(self) -> bytes:
        last = self._scanner.close()
        self.check()
        if not self._scanner.ended:
            raise Unavailable("the upstream ended its stream before the answer was complete")
        return last

    def check(self) -> None:
        if self._scanner.failed is not None:
            raise failure_in(self._scanner.failed, upstream="the upstream")
