"""Where the model's own words stand in an answer, whole or as one event of a stream, in each shape.

Only words are touched: ids, names and counts stay what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..contract.calls import Shape

Lane = tuple[object, ...]
"""What keeps the strands of one stream apart: an answer's number, a block's number, text or arguments."""


@dataclass(slots=True)
class Slot:
    """One string of a document: `holder[key]`. `prose` is False for JSON that the model writes piece by piece."""

    holder: Any
    key: str | int
    lane: Lane
    prose: bool = True

    @property
    def text(self) -> str:
        """The string."""
        return str(self.holder[self.key])

    def put(self, text: str) -> None:
        """Replace it."""
        self.holder[self.key] = text


def whole(shape: Shape, document: Any) -> list[Slot]:
    """The words of a whole answer, in order."""
    return list(_WHOLE.get(shape, _nothing)(document))


def delta(shape: Shape, document: Any) -> list[Slot]:
    """The words that one event of a stream adds."""
    return list(_DELTA.get(shape, _nothing)(document))


def said(shape: Shape, document: Any) -> list[Slot]:
    """The words that one event of a stream repeats, because all pieces of them have been given before."""
    return list(_responses_said(document)) if shape == "responses" else []


def ended(shape: Shape, document: Any) -> tuple[Lane, ...] | None:
    """Which lanes this event ends, as beginnings of their names; None: it ends none."""
    if shape in ("chat", "completions"):
        done = [c.get("index", 0) for c in _items(document, "choices") if c.get("finish_reason") is not None]
        return tuple((index,) for index in done) or None
    kind = document.get("type")
    if shape == "messages" and kind == "content_block_stop":
        return ((document.get("index"),),)
    if shape == "responses" and kind in (
        "response.output_text.done",
        "response.function_call_arguments.done",
        "response.refusal.done",
    ):
        return ((document.get("item_id"), document.get("content_index")),)
    return None


def forget_tokens(document: dict[str, Any]) -> None:
    """Take out the log probabilities: they quote the words as they came."""
    for choice in document.get("choices", ()):
        if isinstance(choice, dict) and choice.get("logprobs"):
            choice["logprobs"] = None
    if document.get("logprobs"):
        document["logprobs"] = []


def _nothing(document: Any) -> Iterator[Slot]:
    return iter(())


def _items(document: Any, key: str) -> list[dict[str, Any]]:
    found = document.get(key) if isinstance(document, Mapping) else None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _string(holder: Any, key: str, lane: Lane, *, prose: bool = True) -> Iterator[Slot]:
    if isinstance(holder, dict) and isinstance(holder.get(key), str) and holder[key]:
        yield Slot(holder, key, lane, prose)


def _chat(document: Any, side: str) -> Iterator[Slot]:
    for choice in _items(document, "choices"):
        index, message = choice.get("index", 0), choice.get(side)
        if not isinstance(message, dict):
            continue
        for key in ("content", "reasoning_content", "reasoning", "refusal"):
            yield from _string(message, key, (index, key))
        for part in _items(message, "content"):
            yield from _string(part, "text", (index, "content"))
        for place, call in enumerate(_items(message, "tool_calls")):
            lane = (index, "call", call.get("index", place))
            yield from _string(call.get("function"), "arguments", lane, prose=False)


def _completions(document: Any) -> Iterator[Slot]:
    for choice in _items(document, "choices"):
        yield from _string(choice, "text", (choice.get("index", 0), "text"))


def _rerank(document: Any) -> Iterator[Slot]:
    for result in _items(document, "results"):
        yield from _string(result, "document", ("document",))
        yield from _string(result.get("document"), "text", ("document",))


def _messages(document: Any) -> Iterator[Slot]:
    for index, block in enumerate(_items(document, "content")):
        yield from _string(block, "text", (index, "text"))
        if isinstance(block.get("input"), dict):
            yield from _leaves(block["input"], (index, "input"))


def _messages_delta(document: Any) -> Iterator[Slot]:
    # Thinking is left alone: it is signed, and goes back to its provider as it came.
    index, step = document.get("index"), document.get("delta")
    if document.get("type") == "content_block_delta":
        yield from _string(step, "text", (index, "text"))
        yield from _string(step, "partial_json", (index, "json"), prose=False)


def _responses(document: Any) -> Iterator[Slot]:
    for item in _items(document, "output"):
        yield from _responses_item(item)


def _responses_item(item: dict[str, Any]) -> Iterator[Slot]:
    for part in _items(item, "content"):
        yield from _string(part, "text", (item.get("id"), "text"))
        yield from _string(part, "refusal", (item.get("id"), "refusal"))
    yield from _string(item, "arguments", (item.get("id"), "arguments"), prose=False)


def _responses_delta(document: Any) -> Iterator[Slot]:
    kind = document.get("type")
    lane = (document.get("item_id"), document.get("content_index"))
    if kind in ("response.output_text.delta", "response.refusal.delta"):
        yield from _string(document, "delta", lane)
    elif kind == "response.function_call_arguments.delta":
        yield from _string(document, "delta", lane, prose=False)


def _responses_said(document: Any) -> Iterator[Slot]:
    lane = (document.get("item_id"), "said")
    yield from _string(document, "text", lane)
    yield from _string(document, "arguments", lane, prose=False)
    yield from _string(document.get("part"), "text", lane)
    if isinstance(document.get("item"), dict):
        yield from _responses_item(document["item"])
    if isinstance(document.get("response"), dict):
        yield from _responses(document["response"])


def _leaves(holder: Any, lane: Lane) -> Iterator[Slot]:
    keys = list(holder) if isinstance(holder, dict) else range(len(holder))
    for key in keys:
        value = holder[key]
        if isinstance(value, str) and value:
            yield Slot(holder, key, lane)
        elif isinstance(value, dict | list):
            yield from _leaves(value, lane)


_WHOLE: Mapping[Shape, Callable[[Any], Iterator[Slot]]] = {
    "chat": lambda document: _chat(document, "message"),
    "completions": _completions,
    "messages": _messages,
    "responses": _responses,
    "rerank": _rerank,
}
_DELTA: Mapping[Shape, Callable[[Any], Iterator[Slot]]] = {
    "chat": lambda document: _chat(document, "delta"),
    "completions": _completions,
    "messages": _messages_delta,
    "responses": _responses_delta,
}
