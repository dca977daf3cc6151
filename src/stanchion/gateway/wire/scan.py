"""What the gateway must know of an answer that it only passes on: tokens, why it ended, whether it is whole.

Most events of a stream hold words and nothing else; they are recognised by what they lack and never decoded. An event
that may hold a count, an end or an error is decoded in full: a text which merely looks like one changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from ..contract.calls import Shape, Usage
from .counts import (
    CHAT_STOPS,
    INCOMPLETE,
    MESSAGES_STOPS,
    merged,
    usage_of_chat,
    usage_of_messages,
    usage_of_responses,
)
from .sse import MOST_EVENT, Event, Framer, events, frames

_NULL = re.compile(rb"\s*:\s*null")
_MARK = b"\xef\xbb\xbf"


class _Choice(msgspec.Struct):
    index: Any = None
    finish_reason: Any = None


class _Head(msgspec.Struct):
    """What is looked for in a document; everything else of it is skipped without being built."""

    type: Any = None
    error: Any = None
    usage: Any = None
    choices: list[_Choice] | None = None
    stop_reason: Any = None
    status: Any = None
    incomplete_details: Any = None
    meta: Any = None
    message: Any = None
    delta: Any = None
    response: Any = None


_HEAD = msgspec.json.Decoder(_Head)
_ANY = msgspec.json.Decoder()
_RAW = msgspec.json.Decoder(msgspec.Raw)  # checks a document from end to end, and builds nothing
_UNREADABLE = {"message": "the upstream sent an event that is no JSON"}


class Scanner:
    """Follows one streamed answer. `feed` gives what may go on to the client at once: whole events, unchanged.

    `usage` is the last count so far, `finish` why the model stopped in our words, `ended` whether the answer is whole,
    `failed` the error that the upstream told of within the stream, or that an event of it cannot be read: that event
    and what follows it are held back.
    """

    def __init__(self, *, most: int = MOST_EVENT) -> None:
        self.usage: Usage | None = None
        self.finish = ""
        self.ended = False
        self.failed: Mapping[str, Any] | None = None
        self._framer = Framer(most=most)
        self._begun = False

    def feed(self, data: bytes) -> bytes:
        """The bytes to send on now. Raises Unavailable for an event beyond the limit of size."""
        block = self._framer.feed(data)
        return self._passed(block) if block else b""

    def close(self) -> bytes:
        """The last bytes to send on, at the end of the upstream's stream; after it `ended` is final."""
        rest = self._framer.rest()
        last = events(rest)
        # Half an event is never sent on; a whole one that lacks its blank line is, with it.
        if not last or not all(_whole(event) for event in last):
            return b""
        return self._passed(rest.rstrip(b"\r\n") + b"\n\n")

    def _passed(self, block: bytes) -> bytes:
        if self.failed is not None:
            return b""
        seen = block
        if not self._begun:
            self._begun = True
            seen = block.removeprefix(_MARK)
        if not self._suspicious(seen) and _plain(seen):
            return block
        return self._sifted(block)

    def _sifted(self, block: bytes) -> bytes:
        kept: list[bytes] = []
        dropped = False
        for frame in frames(block):
            if all(self._readable(event) and self._event(event) for event in events(frame.removeprefix(_MARK))):
                kept.append(frame)
            else:
                dropped = True
            if self.failed is not None:
                break
        return b"".join(kept) if dropped else block

    def _readable(self, event: Event) -> bool:
        """A client drops or stumbles over half a document: the words of it would be missing from a whole answer."""
        if not _readable(event.data):
            self.failed = _UNREADABLE
        return self.failed is None

    def _suspicious(self, block: bytes) -> bool:
        raise NotImplementedError

    def _event(self, event: Event) -> bool:
        """Take note of an event; whether it goes on to the client."""
        raise NotImplementedError


class ChatScanner(Scanner):
    """Chat completions and completions. With `hide_usage` the event that has usage alone is left out of what goes on.

    `answers` is how many answers were asked for: all must have ended where the upstream leaves `[DONE]` out.
    """

    def __init__(self, *, answers: int = 1, hide_usage: bool = False, most: int = MOST_EVENT) -> None:
        super().__init__(most=most)
        self._answers = answers
        self._finished: set[str] = set()
        self._hide = hide_usage

    def close(self) -> bytes:
        last = super().close()
        self.ended = self.failed is None and (self.ended or len(self._finished) >= self._answers)
        return last

    def _suspicious(self, block: bytes) -> bool:
        return (
            _says(block, b'"finish_reason"')
            or b"[DONE]" in block
            or _says(block, b'"usage"')
            or _says(block, b'"error"')
        )

    def _event(self, event: Event) -> bool:
        if event.data.startswith(b"[DONE]"):
            self.ended = True
            return True
        head = _head(event.data)
        if head.error:
            self.failed = _document(head.error)
            return False
        for choice in head.choices or ():
            reason = choice.finish_reason
            if reason == "error":
                self.failed = {"message": "the upstream ended the answer with an error"}
                return False
            if isinstance(reason, str):
                self.finish = CHAT_STOPS.get(reason, reason)
                self._finished.add(str(choice.index))
        usage = usage_of_chat(head.usage)
        if usage is not None:
            self.usage = usage
        return not (self._hide and usage is not None and not head.choices)


class ResponsesScanner(Scanner):
    """The Responses API."""

    _TYPES = (b"response.completed", b"response.incomplete", b"response.failed", b"response.cancelled")

    def _suspicious(self, block: bytes) -> bool:
        return any(name in block for name in self._TYPES) or _says(block, b'"error"')

    def _event(self, event: Event) -> bool:
        head = _head(event.data)
        response = _mapping(head.response)
        if head.type in ("error", "response.failed", "response.cancelled"):
            self.failed = _document(head.error or response.get("error") or _anything(event.data))
            return False
        if head.type in ("response.completed", "response.incomplete"):
            self.ended = True
            self.usage = usage_of_responses(response.get("usage")) or self.usage
            self.finish = _finish_of(response)
        return True


class MessagesScanner(Scanner):
    """Anthropic's messages."""

    def __init__(self, *, most: int = MOST_EVENT) -> None:
        super().__init__(most=most)
        self._counts: dict[str, Any] = {}

    def _suspicious(self, block: bytes) -> bool:
        return b'"usage"' in block or b"message_stop" in block or b'"error"' in block

    def _event(self, event: Event) -> bool:
        head = _head(event.data)
        if head.type == "error":
            self.failed = _document(head.error)
            return False
        if head.type == "message_start":
            self._counted(_mapping(head.message).get("usage"))
        elif head.type == "message_delta":
            self._counted(head.usage)
            reason = _mapping(head.delta).get("stop_reason")
            if isinstance(reason, str):
                self.finish = MESSAGES_STOPS.get(reason, reason)
        elif head.type == "message_stop":
            self.ended = True
        return True

    def _counted(self, counts: object) -> None:
        if isinstance(counts, Mapping):
            self._counts = merged(self._counts, counts)
            self.usage = usage_of_messages(self._counts)


def scanner(shape: Shape, *, answers: int = 1, hide_usage: bool = False, most: int = MOST_EVENT) -> Scanner:
    """A follower of one streamed answer of the shape. Raises ValueError for a shape that is never streamed."""
    if shape in ("chat", "completions"):
        return ChatScanner(answers=answers, hide_usage=hide_usage, most=most)
    if shape == "responses":
        return ResponsesScanner(most=most)
    if shape == "messages":
        return MessagesScanner(most=most)
    raise ValueError(f"answers of the shape {shape} are not streamed")


class Seen(msgspec.Struct, frozen=True):
    """What a whole answer told. `failed` is the error that some upstreams send with status 200."""

    usage: Usage | None = None
    finish: str = ""
    failed: Mapping[str, Any] | None = None


def seen(shape: Shape, body: bytes) -> Seen | None:
    """Tokens and end of a whole answer; None for bytes that are no answer of the shape."""
    try:
        head = _HEAD.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # TEI answers a rerank with a bare list, which has no counts.
        return Seen() if shape == "rerank" and body.lstrip()[:1] == b"[" and isinstance(_anything(body), list) else None
    if head.error:
        return Seen(failed=_document(head.error))
    if shape == "messages":
        if head.type != "message":
            return None
        reason = head.stop_reason if isinstance(head.stop_reason, str) else ""
        return Seen(usage_of_messages(head.usage), MESSAGES_STOPS.get(reason, reason))
    if shape == "responses":
        if head.status is None:
            return None
        held = {"status": head.status, "incomplete_details": head.incomplete_details}
        return Seen(usage_of_responses(head.usage), _finish_of(held))
    if shape in ("chat", "completions"):
        if head.choices is None:
            return None
        reasons = [choice.finish_reason for choice in head.choices if isinstance(choice.finish_reason, str)]
        finish = CHAT_STOPS.get(reasons[-1], reasons[-1]) if reasons else ""
        return Seen(usage_of_chat(head.usage), finish)
    meta = _mapping(head.meta)
    return Seen(usage_of_chat(head.usage) or usage_of_responses(meta.get("tokens")))


def _plain(block: bytes) -> bool:
    """Whether every event of whole frames can be read; one event on one line, the usual case, is not taken apart."""
    if block.startswith(b"data: {") and block.find(b"\n") == len(block) - 2:
        return _readable(block[6:-2])
    return all(_readable(event.data) for event in events(block))


def _readable(data: bytes) -> bool:
    """Whether an event's data is JSON, the mark of the end, or nothing, which the standard has clients pass over."""
    try:
        _RAW.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return not data or data.startswith(b"[DONE]")
    return True


def _says(block: bytes, name: bytes) -> bool:
    """Whether a key stands in the bytes with anything but null behind it."""
    at = block.find(name)
    while at >= 0:
        at += len(name)
        if _NULL.match(block, at) is None:
            return True
        at = block.find(name, at)
    return False


def _head(data: bytes) -> _Head:
    """What is looked for in an event's data; nothing for data of another kind, which is the client's to judge."""
    try:
        return _HEAD.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Head()


def _anything(data: bytes) -> Any:
    try:
        return _ANY.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _whole(event: Event) -> bool:
    return event.data.startswith(b"[DONE]") or _anything(event.data) is not None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _document(error: object) -> Mapping[str, Any]:
    """An upstream's error as a document, whatever it was."""
    return error if isinstance(error, Mapping) else {"message": str(error)}


def _finish_of(response: Mapping[str, Any]) -> str:
    if response.get("status") == "incomplete":
        reason = str(_mapping(response.get("incomplete_details")).get("reason") or "")
        return INCOMPLETE.get(reason, reason or "length")
    calls = response.get("output")
    if isinstance(calls, list) and any(_mapping(item).get("type") == "function_call" for item in calls):
        return "tool_calls"
    return "stop"
