"""Counts, vectors and scores that are made from words alone: the same on every machine and in every run."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from .script import Reply, ToolCall, Usage


def tokens(text: str) -> int:
    """A token for each four characters that were begun."""
    return -(-len(text) // 4)


def texts(value: Any) -> Iterator[str]:
    """All texts of a JSON document, without the names of fields."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from texts(item)


def text_of(content: Any) -> str:
    """The words of a message's content: a text, or a list of parts that may have one."""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        return ""
    return "\n".join(str(part["text"]) for part in content if isinstance(part, dict) and "text" in part)


def said(reply: Reply) -> str:
    """The text of a reply."""
    if reply.json is not None:
        return json.dumps(reply.json, ensure_ascii=False)
    return reply.text or "".join(reply.pieces or ())


def pieces(reply: Reply) -> Sequence[str]:
    """The text of a reply in the parts that a stream sends."""
    return reply.pieces if reply.pieces is not None else divide(said(reply))


def divide(text: str) -> list[str]:
    """Words with the space before them; together they are the text."""
    return re.findall(r"\s*\S+|\s+$", text)


def arguments(call: ToolCall) -> str:
    """The arguments of a tool call as text."""
    given = call.arguments
    return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)


def parsed(call: ToolCall) -> Any:
    """The arguments of a tool call as a JSON document, for forms that have no text there."""
    return json.loads(arguments(call) or "{}")


def named(reply: Reply, prefix: str) -> Reply:
    """The reply with an id for each tool call."""
    calls = [call if call.id else replace(call, id=f"{prefix}{n}") for n, call in enumerate(reply.calls)]
    return replace(reply, calls=calls)


def counted(reply: Reply, asked: Any) -> Usage:
    """The reply's own usage, or one counted from the words of the request and the answer."""
    if reply.usage is not None:
        return reply.usage
    reasoning = tokens(reply.thinking)
    out = reasoning + tokens(said(reply)) + sum(tokens(call.name + arguments(call)) for call in reply.calls)
    return Usage(tokens_in=sum(map(tokens, texts(asked))), tokens_out=out, reasoning=reasoning)


def part(usage: Usage, sent: int, of: int) -> Usage:
    """What of a usage falls on the first `sent` of so many pieces."""
    if sent >= of:
        return usage
    out = usage.tokens_out * sent // of
    return replace(usage, tokens_out=out, reasoning=min(usage.reasoning, out))


def vector(text: str, size: int) -> list[float]:
    """A vector of length 1 in which each word has its place: texts that share words are near each other."""
    found = [0.0] * size
    for word in re.findall(r"\w+", text.lower()) or [text]:
        digest = hashlib.blake2b(word.encode(), digest_size=16).digest()
        for place in range(0, 16, 4):
            number = int.from_bytes(digest[place : place + 4], "big")
            found[(number >> 1) % size] += 1.0 if number & 1 else -1.0
    length = math.sqrt(sum(value * value for value in found))
    if not length:
        return [1.0, *found[1:]]
    return [value / length for value in found]


def overlap(query: str, document: str) -> float:
    """The share of the query's words that the document has, from 0 to 1."""
    asked = set(re.findall(r"\w+", query.lower()))
    held = set(re.findall(r"\w+", document.lower()))
    return len(asked & held) / len(asked) if asked else 0.0
