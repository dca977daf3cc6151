"""The rules of documents: which text is taken, and what a document without words is called."""

from __future__ import annotations

import asyncio
import re

from ..core.context import Context
from ..core.errors import PayloadTooLarge, Throttled
from .contract import DocumentKind, Documents, Parsed, State, check_kind
from .ports import Parser, Raw

_WORD = re.compile(r"[^\W_]+")
KEPT = 0.95
_WAITING = 64


class DocumentService(Documents):
    """Reads at most `together` documents at a time; as many as 64 more wait."""

    def __init__(self, parser: Parser, *, together: int, most_bytes: int) -> None:
        self._parser = parser
        self._room = asyncio.Semaphore(together)
        self._most = most_bytes
        self._asked = 0
        self._together = together

    async def parse(self, ctx: Context, content: bytes, kind: DocumentKind) -> Parsed:
        check_kind(kind)
        if len(content) > self._most:
            raise PayloadTooLarge(f"the document has {len(content)} bytes; data.most_bytes is {self._most}")
        if self._asked >= self._together + _WAITING:
            raise Throttled("too many documents wait to be read", retry_after=5)
        self._asked += 1
        try:
            async with self._room:
                raw = await self._parser.read(content, kind)
        finally:
            self._asked -= 1
        return judged(raw, kind, self._parser.name)


def judged(raw: Raw, kind: DocumentKind, parser: str) -> Parsed:
    """The document as callers get it: Markdown unless that lost words."""
    plain, marked = count(raw.plain), count(raw.markdown)
    # Tables may stand in Markdown alone, and whole pages in the plain text alone.
    whole = marked >= KEPT * plain
    text, words = (raw.markdown, marked) if whole else (raw.plain, plain)
    state: State = "read"
    if raw.locked:
        state = "encrypted"
    elif words == 0:
        state = "scanned" if kind == "application/pdf" else "empty"
    return Parsed(
        state=state,
        kind=kind,
        text=text if state == "read" else "",
        form="markdown" if whole else "plain",
        words=words if state == "read" else 0,
        pages=raw.pages,
        title=raw.title,
        parser=parser,
    )


def count(text: str) -> int:
    """Words of letters and digits: the bars and dashes of a table are none."""
    return sum(1 for _ in _WORD.finditer(text))
