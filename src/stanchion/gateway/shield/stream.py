"""A streamed answer, event by event: its words pass the strands, everything else is left as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from ...core.errors import Unavailable
from ..contract.calls import Shape
from ..contract.rails import RailFinding
from ..wire.sse import SseReader, event
from . import words
from .strand import Strand
from .words import Lane, Slot

_encode = msgspec.json.encode
_CHOICES = ("chat", "completions")
_PLAIN = frozenset({"content", "text", "index", "delta", "finish_reason", "logprobs"})


class _Lane:
    """A strand under way: what came, what was given of it, and the event that it last stood in."""

    def __init__(self, strand: Strand, tool: str | None) -> None:
        self.strand = strand
        self.tool = tool
        self.came = self.given = ""
        self.last: tuple[str, bytes] = ("", b"")


class ShieldedStream:
    """Rewrites one stream. What a strand holds back comes in an event of its own, like the last that it had."""

    def __init__(self, shape: Shape, strand: Callable[[str | None], Strand]) -> None:
        self._shape = shape
        self._new = strand
        self._reader = SseReader()
        self._lanes: dict[Lane, _Lane] = {}
        self._said: dict[tuple[str | None, str], str] = {}
        self._tools: dict[Lane, str] = {}
        self._number: int | None = None
        self.findings: list[RailFinding] = []

    async def feed(self, data: bytes) -> bytes:
        """The events that these bytes complete, as they may be given. Raises NotAllowed, Unavailable."""
        return b"".join([await self._event(each.name, each.data) for each in self._reader.feed(data)])

    async def close(self) -> bytes:
        """What is left when the stream has ended. Raises NotAllowed."""
        late = b"".join([await self._event(each.name, each.data) for each in self._reader.close()])
        return late + await self._ended((), [])

    async def _event(self, name: str, data: bytes) -> bytes:
        if data.strip() == b"[DONE]":
            # All that was held back must come before it.
            return await self._ended((), []) + event(data, name)
        document = _document(data)
        self._tools.update(words.called(self._shape, document))
        slots = words.delta(self._shape, document)
        changed = [await self._passed(slot, name, data) for slot in slots]
        lanes = words.ended(self._shape, document)
        before = b"".join([await self._ended(beginning, slots) for beginning in lanes or ()])
        for slot in words.said(self._shape, document):
            slot.put(await self._repeated(slot))
        if any(changed):
            words.forget_tokens(document)
        if slots and not lanes and not any(slot.text for slot in slots) and _only_words(self._shape, document):
            return before  # all of it is held back, and it tells nothing else
        return before + self._told(name, document)

    async def _passed(self, slot: Slot, name: str, data: bytes) -> bool:
        """Put what may be given of the slot's words in their place; whether they are others."""
        lane = self._lanes.get(slot.lane)
        if lane is None:
            lane = self._lanes[slot.lane] = _Lane(self._new(self._tool(slot)), self._tool(slot))
        came = slot.text
        slot.put(await lane.strand.feed(came))
        lane.came += came
        lane.given += slot.text
        lane.last = (name, data)
        return slot.text != came

    async def _repeated(self, slot: Slot) -> str:
        """Words that were given in pieces before, as they were given; others pass a strand of their own."""
        tool, came = self._tool(slot), slot.text
        known = self._said.get((tool, came))
        if known is None:
            strand = self._new(tool)
            known = self._said[tool, came] = await strand.whole(came)
            self.findings += strand.findings
        return known

    def _tool(self, slot: Slot) -> str | None:
        return slot.tool if slot.tool is None else slot.tool or self._tools.get(slot.lane, "")

    async def _ended(self, beginning: Lane, slots: list[Slot]) -> bytes:
        """End every lane that begins so. Its rest joins its slot of this event, or comes in one before."""
        told = b""
        for name in [name for name in self._lanes if name[: len(beginning)] == beginning]:
            lane = self._lanes.pop(name)
            rest = await lane.strand.end()
            self.findings += lane.strand.findings
            self._said[lane.tool, lane.came] = lane.given + rest
            slot = next((slot for slot in slots if slot.lane == name), None)
            if slot is not None:
                slot.put(slot.text + rest)
            elif rest:
                told += self._late(name, lane, rest)
        return told

    def _late(self, name: Lane, lane: _Lane, rest: str) -> bytes:
        title, data = lane.last
        if self._shape == "messages":
            # The event that the words last stood in may be the one that began their block.
            delta = {"type": "text_delta", "text": rest} if lane.tool is None else _partial(rest)
            told = {"type": "content_block_delta", "index": name[0], "delta": delta}
            return self._told("content_block_delta", told)
        document = _document(data)
        for slot in words.delta(self._shape, document):
            slot.put(rest if slot.lane == name else "")
        for choice in document.get("choices", ()) if self._shape in _CHOICES else ():
            choice["finish_reason"] = None
            _forget_names(choice.get("delta"))
        words.forget_tokens(document)
        document.pop("usage", None)
        return self._told(title, document)

    def _told(self, name: str, document: dict[str, Any]) -> bytes:
        """The event. Where the upstream numbers its events, those that are given are numbered on from its first."""
        number = document.get("sequence_number")
        if isinstance(number, int):
            self._number = number if self._number is None else self._number + 1
            document["sequence_number"] = self._number
        return event(_encode(document), name)


def _document(data: bytes) -> dict[str, Any]:
    """What cannot be read cannot be looked through, so it is not passed on. Raises Unavailable."""
    try:
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unavailable("the upstream sent an event that is no JSON") from error
    if not isinstance(document, dict):
        raise Unavailable("the upstream sent an event that is no object")
    return document


def _partial(arguments: str) -> dict[str, str]:
    return {"type": "input_json_delta", "partial_json": arguments}


def _forget_names(delta: Any) -> None:
    """Take out what tells that calls begin: a client would put a second id or name behind the first."""
    if not isinstance(delta, dict):
        return
    for call in delta.get("tool_calls") or ():
        for key in ("id", "type"):
            call.pop(key, None)
        for kind in ("function", "custom"):
            if isinstance(call.get(kind), dict):
                call[kind].pop("name", None)
    if isinstance(delta.get("function_call"), dict):
        delta["function_call"].pop("name", None)


def _only_words(shape: Shape, document: dict[str, Any]) -> bool:
    """Whether an event without its words would tell nothing."""
    if shape not in _CHOICES:
        return document.get("type") != "content_block_start"
    return not document.get("usage") and all(
        set(choice.get("delta") or {}) <= {"content"} and set(choice) <= _PLAIN
        for choice in document.get("choices") or [{}]
    )
