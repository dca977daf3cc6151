"""Walks the words of a JSON document, whatever its shape: what cannot be read as words is reported, not skipped."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_DATA_URL = re.compile(r"data:[\w.+/-]{0,100}(?:;[\w=-]{1,100}){0,3};base64,")
# Long base64 under these keys is a file. Under any other key it is looked through like words.
_FILES = frozenset({"data", "file_data", "bytes", "blob"})
_BASE64 = re.compile(r"[0-9A-Za-z+/_-]{64,}={0,2}\s*")
_LINKS = frozenset({"url", "image_url", "file_url", "fileUri", "uri"})
# Their values are words of the protocol; the caller's own words cannot stand there.
_PROTOCOL = frozenset({"type", "role", "object", "media_type", "mime_type", "format"})
_ARGUMENTS = frozenset({"input", "args", "arguments"})
_PROTOCOL_WORD = re.compile(r"[\w./+-]{1,64}")

Words = Callable[[str], str]


class Walk:
    """One pass over a document. `change` is given every string that may hold words and gives what replaces it.

    `opaque` counts what cannot be looked into: files in base64 and links to things elsewhere. `free` says that the
    document has no protocol: arguments of a tool, where each name and each value is somebody's own, and a link is
    nothing but words. What a call holds of such arguments as an object is taken so in any case.
    """

    def __init__(self, change: Words, *, untouchable: Callable[[str], None], free: bool = False) -> None:
        self._change = change
        self._untouchable = untouchable
        self._free = free
        self.opaque = 0

    def over(self, value: Any, key: str = "") -> Any:
        """The document with its words replaced; a new one where anything changed, else the same."""
        if isinstance(value, str):
            return self._string(value, key)
        if isinstance(value, list):
            changed = [self.over(each, key) for each in value]
            return changed if any(a is not b for a, b in zip(changed, value, strict=True)) else value
        if isinstance(value, dict):
            return self._object(value, key)
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) >= 1e6:
            # A card's number without quotes is still one. A number cannot become a word.
            self._untouchable(repr(value))
        return value

    def _object(self, value: dict[str, Any], key: str) -> dict[str, Any]:
        before, self._free = self._free, self._free or key in _ARGUMENTS
        for name in value:
            self._untouchable(name)
        changed = {name: self.over(each, name) for name, each in value.items()}
        self._free = before
        return changed if any(changed[name] is not value[name] for name in value) else value

    def _string(self, value: str, key: str) -> str:
        if not self._free and key in _PROTOCOL and _PROTOCOL_WORD.fullmatch(value):
            return value
        if _DATA_URL.match(value) or (key in _FILES and _BASE64.fullmatch(value)):
            self.opaque += 1
            return value
        if not self._free and key in _LINKS and value.startswith(("http://", "https://", "gs://")):
            self.opaque += 1
        new = self._change(value)
        return value if new == value else new
