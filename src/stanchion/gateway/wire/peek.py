"""A request's top-level keys as the client wrote them: what routing needs is read, the rest is never decoded.

A field that the gateway does not know reaches an upstream of the same shape byte for byte, its name included.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any

import msgspec

from ...core.errors import FieldProblem, InvalidInput, MalformedRequest
from ..contract.calls import Shape

_TOP = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NAME = re.compile(rb'[\s,{]*("(?:[^"\\]|\\.)*"\s*:\s*)')
_encode = msgspec.json.encode
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

    __slots__ = ("__dict__", "body", "keys")

    def __init__(self, body: bytes) -> None:
        self.body = body
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
        return None if value is None else msgspec.json.decode(value)

    @cached_property
    def model(self) -> str:
        """The model or route asked for. Raises InvalidInput where it is absent, empty or no text."""
        value = self.read("model")
        if not isinstance(value, str) or not value:
            raise _wrong("model", "Name a model, or a route as `route:NAME`")
        return value

    @cached_property
    def stream(self) -> bool:
        """Whether the answer is to be streamed. Raises InvalidInput for what is neither true nor false."""
        value = self.read("stream")
        if value is not None and not isinstance(value, bool):
            raise _wrong("stream", "Expected true or false")
        return bool(value)

    @cached_property
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

    @cached_property
    def answers(self) -> int:
        """How many answers the client wants (`n`, or `best_of` where the upstream makes more and shows fewer)."""
        counts = [_whole(name, value) for name in ("n", "best_of") if (value := self.read(name)) is not None]
        return max(counts, default=1)

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
        body, at, members = self.body, 0, []
        for name, value in self.keys.items():
            found = _NAME.match(body, at)
            raw = bytes(value)
            # A name that came twice has one value: the places no longer match.
            if found is None or not body.startswith(raw, found.end()):
                raise MalformedRequest(f"the key {name[:64]!r} is given more than once")
            members.append((name, found[1], raw))
            at = found.end() + len(raw)
        return members


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < _MOST:
        raise _wrong(name, "Expected a whole number from 1")
    return value


def _wrong(name: str, message: str) -> InvalidInput:
    return InvalidInput(f"`{name}` is not valid", fields=[FieldProblem(f"$.{name}", message)])
