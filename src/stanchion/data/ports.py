"""What documents need from a parser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from .contract import DocumentKind


@dataclass(frozen=True, slots=True)
class Raw:
    """What a parser found: the same document in plain words and in Markdown. `locked`: it needs a password."""

    plain: str
    markdown: str
    pages: int | None = None
    title: str = ""
    locked: bool = False


class Parser(Protocol):
    """Reads one document at a time."""

    name: str

    async def read(self, content: bytes, kind: DocumentKind) -> Raw:
        """What it says. Raises InvalidInput where it is damaged or takes more than its bounds, Misconfigured."""
        ...
