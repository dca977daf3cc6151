"""What a client of either form hears of one answer, whole or streamed."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Heard:
    """`ended` tells that the answer looks whole to its client, `failed` that an error event stood in it."""

    text: str = ""
    calls: list[list[str]] = field(default_factory=list)
    """Name and arguments of each tool call that was begun."""
    ended: bool = False
    failed: bool = False


def whole(shape: str, body: bytes) -> Heard:
    """A whole answer."""
    document = json.loads(body)
    if shape == "chat":
        message = document["choices"][0]["message"]
        calls = [[c["function"]["name"], c["function"]["arguments"]] for c in message.get("tool_calls") or ()]
        return Heard(message["content"] or "", calls, ended=True)
    blocks = document["content"]
    calls = [[b["name"], json.dumps(b["input"])] for b in blocks if b["type"] == "tool_use"]
    return Heard("".join(b["text"] for b in blocks if b["type"] == "text"), calls, ended=True)


def streamed(shape: str, data: bytes) -> Heard:
    """A streamed answer, read as the official clients read it: an event that is no JSON raises."""
    heard = Heard()
    for line in data.splitlines():
        if not line.startswith(b"data:"):
            continue
        given = line[5:].strip()
        if given == b"[DONE]":
            heard.ended = True
            continue
        (_chat if shape == "chat" else _messages)(heard, json.loads(given))
    return heard


def _chat(heard: Heard, document: Any) -> None:
    heard.failed = heard.failed or "error" in document
    for choice in document.get("choices") or ():
        delta = choice["delta"]
        heard.text += delta.get("content") or ""
        for call in delta.get("tool_calls") or ():
            if call.get("id"):
                heard.calls.append([call["function"]["name"], ""])
            heard.calls[call["index"]][1] += call["function"].get("arguments") or ""


def _messages(heard: Heard, document: Any) -> None:
    kind = document["type"]
    heard.failed = heard.failed or kind == "error"
    heard.ended = heard.ended or kind == "message_stop"
    if kind == "content_block_start" and document["content_block"]["type"] == "tool_use":
        heard.calls.append([document["content_block"]["name"], ""])
    if kind == "content_block_delta":
        delta = document["delta"]
        heard.text += delta.get("text", "")
        if "partial_json" in delta:
            heard.calls[-1][1] += delta["partial_json"]
