"""Where the model's own words stand in an answer, whole or as one event of a stream, in each shape.

Only words and the arguments of tool calls are touched: ids, names and counts stay what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from ..contract.calls import Shape

_ARGUMENTS = (
    "response.function_call_arguments",
    "response.custom_tool_call_input",
    "response.mcp_call_arguments",
)
_THOUGHTS = ("response.reasoning_summary_text", "response.reasoning_text")
Lane = tuple[object, ...]
"""What keeps the strands of one stream apart: an answer's number, a block's number, text or arguments."""


@dataclass(slots=True)
class Slot:
    """One string of a document: `holder[key]`. `tool` is the one whose arguments it holds, None for prose.

    It is empty in the events of a stream that do not tell it again; see `called`.
    """

    holder: Any
    key: str | int
    lane: Lane
    tool: str | None = None

    @property
    def text(self) -> str:
        """The string."""
        return str(self.holder[self.key])

    def put(self, text: str) -> None:
        """Replace it."""
        self.holder[self.key] = text


@dataclass(slots=True)
class ObjectSlot(Slot):
    """Arguments that stand in the document as an object; they are read and replaced as JSON text."""

    @property
    def text(self) -> str:
        """The object as JSON."""
        return msgspec.json.encode(self.holder[self.key]).decode()

    def put(self, text: str) -> None:
        """Replace it by what the JSON text says."""
        self.holder[self.key] = msgspec.json.decode(text)


def whole(shape: Shape, document: Any) -> list[Slot]:
    """The words of a whole answer, in order."""
    return list(_WHOLE.get(shape, _nothing)(document))


def delta(shape: Shape, document: Any) -> list[Slot]:
    """The words that one event of a stream adds."""
    return list(_DELTA.get(shape, _nothing)(document))


def said(shape: Shape, document: Any) -> list[Slot]:
    """The words that one event of a stream tells at once: nearly always all pieces of them have been given before."""
    if shape == "messages":
        return list(_object(document.get("content_block"), "input", (document.get("index"), "input")))
    return list(_responses_said(document)) if shape == "responses" else []


def called(shape: Shape, document: Any) -> Iterator[tuple[Lane, str]]:
    """The lanes of arguments that one event of a stream begins, each with the name of its tool."""
    if shape == "chat":
        for index, message in [(c.get("index", 0), c.get("delta")) for c in _items(document, "choices")]:
            for place, call in enumerate(_items(message, "tool_calls")):
                if name := _tool(call):
                    yield (index, "call", call.get("index", place)), name
            if isinstance(message, dict) and (name := _tool({"function": message.get("function_call")})):
                yield (index, "function_call"), name
    elif shape == "messages" and "content_block" in document:
        yield (document.get("index"), "json"), _named(document["content_block"])
    elif shape == "responses" and isinstance(item := document.get("item"), dict):
        yield (item.get("id"), None), _named(item)


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
        "response.refusal.done",
    ):
        return ((document.get("item_id"), document.get("content_index")),)
    if shape == "responses" and isinstance(kind, str) and kind.endswith(".done"):
        if kind.removesuffix(".done") in _ARGUMENTS:
            return ((document.get("item_id"), None),)
        if kind.removesuffix(".done") in _THOUGHTS:
            return (_thought(document),)
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


def _string(holder: Any, key: str, lane: Lane, tool: str | None = None) -> Iterator[Slot]:
    if isinstance(holder, dict) and isinstance(holder.get(key), str) and holder[key]:
        yield Slot(holder, key, lane, tool)


def _object(holder: Any, key: str, lane: Lane) -> Iterator[Slot]:
    if isinstance(holder, dict) and isinstance(holder.get(key), dict) and holder[key]:
        yield ObjectSlot(holder, key, lane, _named(holder))


def _named(holder: Any) -> str:
    name = holder.get("name") if isinstance(holder, dict) else None
    return name if isinstance(name, str) else ""


def _tool(call: dict[str, Any]) -> str:
    return _named(call.get("function")) or _named(call.get("custom"))


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
            yield from _string(call.get("function"), "arguments", lane, _tool(call))
            yield from _string(call.get("custom"), "input", lane, _tool(call))
        made = message.get("function_call")
        yield from _string(made, "arguments", (index, "function_call"), _named(made))


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
        yield from _object(block, "input", (index, "input"))


def _messages_delta(document: Any) -> Iterator[Slot]:
    # Thinking is left alone: it is signed, and goes back to its provider as it came.
    index, step = document.get("index"), document.get("delta")
    if document.get("type") == "content_block_delta":
        yield from _string(step, "text", (index, "text"))
        yield from _string(step, "partial_json", (index, "json"), "")
    elif document.get("type") == "content_block_start":
        yield from _string(document.get("content_block"), "text", (index, "text"))


def _responses(document: Any) -> Iterator[Slot]:
    for item in _items(document, "output"):
        yield from _responses_item(item)


def _thought(document: dict[str, Any]) -> Lane:
    return document.get("item_id"), document.get("summary_index"), document.get("content_index"), "thought"


def _responses_item(item: dict[str, Any]) -> Iterator[Slot]:
    for part in _items(item, "summary"):
        yield from _string(part, "text", (item.get("id"), "summary"))
    for part in _items(item, "content"):
        yield from _string(part, "text", (item.get("id"), "text"))
        yield from _string(part, "refusal", (item.get("id"), "refusal"))
    for key in ("arguments", "input"):
        yield from _string(item, key, (item.get("id"), None), _named(item))


def _responses_delta(document: Any) -> Iterator[Slot]:
    kind = document.get("type")
    lane = (document.get("item_id"), document.get("content_index"))
    if kind in ("response.output_text.delta", "response.refusal.delta"):
        yield from _string(document, "delta", lane)
    elif isinstance(kind, str) and kind.removesuffix(".delta") in _ARGUMENTS:
        yield from _string(document, "delta", (document.get("item_id"), None), "")
    elif isinstance(kind, str) and kind.removesuffix(".delta") in _THOUGHTS:
        yield from _string(document, "delta", _thought(document))


def _responses_said(document: Any) -> Iterator[Slot]:
    lane = (document.get("item_id"), None)
    yield from _string(document, "text", lane)
    for key in ("arguments", "input"):
        yield from _string(document, key, lane, _named(document))
    yield from _string(document.get("part"), "text", lane)
    if isinstance(document.get("item"), dict):
        yield from _responses_item(document["item"])
    if isinstance(document.get("response"), dict):
        yield from _responses(document["response"])


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
