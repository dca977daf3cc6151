"""What the server needs to know of a family: its paths, its requests, its answers and its errors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from ..script import Call, Kind, Reply, Usage

SSE = "text/event-stream"
T = TypeVar("T")


class Target(NamedTuple):
    """What a path asks for. `model` and `stream` are None where the body says it."""

    kind: Kind
    model: str | None = None
    stream: bool | None = None


class Events(NamedTuple):
    """A streamed answer. Without the events from `ending` on, nobody may take it for whole."""

    sent: Sequence[bytes]
    ending: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is an error."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key of AWS, for a server that checks the signature of each request."""

    id: str
    secret: str
    region: str = "us-east-1"
    token: str = ""


class Family(Protocol):
    """The forms of one provider."""

    stream_type: str

    def target(self, method: str, path: str) -> Target | None:
        """None for a path that the family has not."""
        ...

    def prompt(self, kind: Kind, body: Any) -> str:
        """The text of the request's last message."""
        ...

    def problem(self, call: Call) -> str:
        """What the provider would refuse in the request; empty for none."""
        ...

    def whole(self, call: Call, reply: Reply, usage: Usage) -> Any:
        """The answer as a JSON document."""
        ...

    def events(self, call: Call, reply: Reply, usage: Usage) -> Events:
        """The answer as a stream."""
        ...

    def refusal(self, status: int, words: str) -> Refusal:
        """An error in the family's form."""
        ...

    def failure(self, words: str) -> bytes:
        """An error inside a stream."""
        ...

    def malformed(self) -> bytes:
        """What stands in a stream where an event should, and cannot be read."""
        ...

    def authorised(self, call: Call, key: str | SigningKey) -> bool:
        """Whether the request shows the key."""
        ...


def event(document: Any, name: str = "") -> bytes:
    """One server-sent event."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(document, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


def fits(body: Any, form: type[Any]) -> str:
    """What is wrong with a document by the types of its form, with the place; empty for nothing."""
    try:
        msgspec.convert(body, form)
    except msgspec.ValidationError as error:
        return str(error)
    return ""
