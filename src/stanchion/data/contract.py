"""Documents: what a file says in words, and honest names for files that say nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal, Protocol, get_args

from ..core.context import Context
from ..core.contract import action
from ..core.errors import InvalidInput

DocumentKind = Literal[
    "application/pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "text/html",
    "text/markdown",
    "text/plain",
]
State = Literal["read", "encrypted", "scanned", "empty"]

_BY_ENDING: dict[str, DocumentKind] = {
    ".pdf": "application/pdf",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".html": "text/html",
    ".htm": "text/html",
    ".md": "text/markdown",
    ".txt": "text/plain",
}


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a document says. `state` tells why there is no text where there is none: it is `encrypted`, `scanned` (a PDF
    of pictures without a layer of text) or `empty`.

    `text` is Markdown if `form` says so: headings and tables are kept then. It is plain where Markdown would have lost
    more than one word in twenty. `words` counts the words of `text`. `pages` is None where the format has none.
    """

    state: State
    kind: DocumentKind
    text: str
    form: Literal["markdown", "plain"]
    words: int
    pages: int | None = None
    title: str = ""
    parser: str = ""


class Documents(Protocol):
    """Reads documents. Nothing is kept, and nothing of a document is run."""

    @action("data:parse", effect="read", resource="Document", seconds=120)
    async def parse(self, ctx: Context, content: bytes, kind: DocumentKind) -> Parsed:
        """The document's words.

        Each is read in a process of its own, with bounded time and memory. Raises InvalidInput where it is damaged, no
        such document, or takes more than its bounds, PayloadTooLarge, Throttled where too many wait, and Misconfigured
        where no parser is installed.
        """
        ...


def kind_of(name: str) -> DocumentKind:
    """The kind that a file's ending says. Raises InvalidInput for endings of none."""
    found = _BY_ENDING.get(PurePath(name).suffix.lower())
    if found is None:
        raise InvalidInput(
            f"{name[-60:]!r} is no document that can be read", next_step=f"Send one of {', '.join(_BY_ENDING)}."
        )
    return found


def check_kind(kind: str) -> None:
    """Return if it is a kind that can be read. Raises InvalidInput."""
    if kind not in get_args(DocumentKind):
        raise InvalidInput(f"documents of the type {kind[:80]!r} cannot be read")
