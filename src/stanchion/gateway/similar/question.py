"""What of a request is the question, and what else there is, which must be the same to the byte."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from ..contract.calls import Ask

_LONGEST = 2_000
_encode = msgspec.json.Encoder(order="deterministic").encode


class Question(NamedTuple):
    """The text of the last message, and a digestible form of all the rest: system prompt, turns, tools, options."""

    text: str
    rest: bytes


def question_of(ask: Ask) -> Question | None:
    """None for a call whose last message is not a user's text alone, or is long: no two of those mean the same."""
    if ask.shape not in ("chat", "messages"):
        return None
    document: dict[str, Any] = msgspec.json.decode(ask.body)
    messages = document.get("messages")
    if not isinstance(messages, list) or not messages:
        return None
    last = messages[-1]
    if not isinstance(last, dict) or last.get("role") != "user":
        return None
    text = _text(last.get("content"))
    if text is None or not text.strip() or len(text) > _LONGEST:
        return None
    rest = {**document, "messages": [*messages[:-1], {**last, "content": ""}]}
    return Question(text.strip(), _encode(rest))


def _text(content: object) -> str | None:
    if isinstance(content, str):
        return content
    found = []
    for part in content if isinstance(content, list) else [None]:
        if not isinstance(part, dict) or set(part) != {"type", "text"} or not isinstance(part["text"], str):
            return None
        found.append(part["text"])
    return "\n".join(found)
