"""The words in a chat answer: of a whole one, and of a stream's events as they come."""

from __future__ import annotations

import json
from typing import Any


class Speech:
    """Collects events and gives the words of each as soon as it is whole."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, data: bytes) -> str:
        """The words that came to be known with these bytes."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return "".join(_delta(line[5:].strip()) for line in lines if line.startswith(b"data:"))


def spoken(body: bytes) -> str:
    """The words of a whole answer; of one that calls tools instead, the calls as JSON."""
    message = _first(_read(body), "message")
    return _words(message) or _calls(message)


def _delta(event: bytes) -> str:
    delta = _first(_read(event), "delta")
    return _words(delta) or _calls(delta)


def _read(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:  # `[DONE]`, and what an upstream may have sent besides
        return None


def _first(document: Any, name: str) -> Any:
    choices = document.get("choices") if isinstance(document, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    return choice.get(name) if isinstance(choice, dict) else None


def _words(message: Any) -> str:
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _calls(message: Any) -> str:
    calls = message.get("tool_calls") if isinstance(message, dict) else None
    return json.dumps(calls, indent=2) if isinstance(calls, list) and calls else ""
