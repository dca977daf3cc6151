"""A request's top-level keys as the client wrote them: what routing needs is read, the rest is never decoded.

A field that the gateway does not know reaches an upstream of the same shape byte for byte, its name included.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from ...core.errors import FieldProblem, InvalidInput, MalformedRequest
from ..contract.calls import Ask, Shape

_TOP = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NAME = re.compile(rb'[\s,{]*("(?:[^"\\]|\\.)*"\s*:\s*)')
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_MOST_TOKENS: Mapping[Shape, tuple[str, ...]] = {
    "chat": ("max_completion_tokens", "max_tokens"),
    "completions": ("max_tokens",),
    "responses": ("max_output_tokens",),
    "messages": ("max_tokens",),
}
_MOST = 1 << 31


class Peek:
    """The top level of one request. Raises MalformedRequest where the body is no JSON object.

    The door has already refused a name given twice and values nested too deeply.
    """

    __slots__ = ("_model", "body", "keys")

    def __init__(self, body: bytes) -> None:
        self.body = body
        self._model = ""
        try:
            self.keys: Mapping[str, msgspec.Raw] = _TOP.decode(body)
        except msgspec.ValidationError as error:
            raise InvalidInput(
                "the body must be a JSON object", fields=[FieldProblem("$", "Expected an object")]
            ) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedRequest(f"the body is not one JSON document: {error}") from error

    def raw(self, name: str) -> bytes:
        """A value as it was written, empty where the key is absent."""
        value = self.keys.get(name)
        return b"" if value is None else bytes(value)

    def read(self, name: str) -> Any:
        """A value as plain data, None where it is absent or null."""
        value = self.keys.get(name)
        return None if value is None else _decode(value)

    @property
    def model(self) -> str:
        """The model or route asked for. Raises InvalidInput where it is absent, empty or no text."""
        if self._model:
            return self._model
        value = self.read("model")
        if not isinstance(value, str) or not value:
            raise _wrong("model", "Name a model, or a route as `route:NAME`")
        self._model = value
        return value

    @property
    def stream(self) -> bool:
        """Whether the answer is to be streamed. Raises InvalidInput for what is neither true nor false."""
        value = self.read("stream")
        if value is not None and not isinstance(value, bool):
            raise _wrong("stream", "Expected true or false")
        return bool(value)

    @property
    def usage_in_stream(self) -> bool:
        """Whether the client asked for usage at the end of its stream (chat completions, completions)."""
        options = self.read("stream_options")
        return isinstance(options, Mapping) and options.get("include_usage") is True

    def most_tokens(self, shape: Shape) -> int | None:
        """The most tokens that the answer may have, None where the client set no limit."""
        for name in _MOST_TOKENS.get(shape, ()):
            value = self.read(name)
            if value is not None:
                return _whole(name, value)
        return None

    @property
    def answers(self) -> int:
        """How many answers the client wants (`n`, or `best_of` where the upstream makes more and shows fewer)."""
        most = 1
        for name in ("n", "best_of"):
            value = self.read(name)
            if value is not None:
                most = max(most, _whole(name, value))
        return most

    def replaced(
        self, *, model: str | None = None, put: Mapping[str, Any] | None = None, drop: Collection[str] = ()
    ) -> bytes:
        """The body with another model, with the values of `put` (plain data) and without the keys in `drop`.

        Every other key and value is what the client wrote, byte for byte and in its order.
        """
        changes = dict(put or {})
        if model is not None:
            changes["model"] = model
        kept = []
        for name, written, value in self._members():
            if name in changes:
                kept.append(written + _encode(changes.pop(name)))
            elif name not in drop:
                kept.append(written + value)
        kept += [_encode(name) + b":" + _encode(value) for name, value in changes.items()]
        return b"{" + b",".join(kept) + b"}"

    def _members(self) -> list[tuple[str, bytes, bytes]]:
        """Each key, the bytes of its name and colon, and its value's."""
        body, at, members, match = self.body, 0, list[tuple[str, bytes, bytes]](), _NAME.match
        for name, value in self.keys.items():
            found = match(body, at)
            raw = bytes(value)
            # A name that came twice has one value: the places no longer match.
            if found is None or not body.startswith(raw, at := found.end()):
                raise MalformedRequest(f"the key {name[:64]!r} is given more than once")
            members.append((name, found[1], raw))
            at += len(raw)
        return members


class Peeked(Ask):
    """A call whose top level has been read already. It compares and travels as what it is: an `Ask`."""

    __slots__ = ("peek",)
    peek: Peek

    def __init__(
        self,
        shape: Shape,
        body: bytes,
        headers: Mapping[str, str],
        tags: Mapping[str, str],
        peek: Peek | None = None,
        background: bool = False,
    ) -> None:
        Ask.__init__(self, shape, body, headers, tags, background)
        object.__setattr__(self, "peek", Peek(body) if peek is None or peek.body is not body else peek)


def peek_of(ask: Ask) -> Peek:
    """The top level of a call's body. Raises what `Peek` does."""
    return ask.peek if isinstance(ask, Peeked) else Peek(ask.body)


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < _MOST:
        raise _wrong(name, "Expected a whole number from 1")
    return value


def _wrong(name: str, message: str) -> InvalidInput:
    return InvalidInput(f"`{name}` is not valid", fields=[FieldProblem(f"$.{name}", message)])
