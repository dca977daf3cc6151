"""Runs a system's rails over requests, whole answers and streamed ones."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ...core.errors import NotAllowed
from ..contract.rails import Fits, RailFinding, RailReport, RailSpec, Side, Size
from ..privacy.documents import Walk
from .checks import Look, judges, look_of, reach_of

log = logging.getLogger(__name__)


class Rails:
    """The rails of one system."""

    def __init__(self, specs: Sequence[RailSpec]) -> None:
        self._looks: list[tuple[RailSpec, Look]] = [(spec, look_of(spec.check)) for spec in specs]

    def any(self, side: Side) -> bool:
        """Whether any rail is on this side."""
        return any(side in spec.on for spec, _ in self._looks)

    @property
    def reach(self) -> int | None:
        """How many characters of a streamed answer blocking rails hold back; None: the whole of it."""
        reaches = [reach_of(spec.check) for spec, _ in self._blocking(None)]
        return None if None in reaches else max((reach for reach in reaches if reach is not None), default=0)

    async def ask(self, document: Mapping[str, Any], *, tool: str | None = None) -> RailReport:
        """What the rails find in all words of a request, or in what a `tool` gave.

        Raises NotAllowed where one of them blocks it.
        """
        words = _words(document, free=tool is not None)
        looks = [(spec, look) for spec, look in self._looks if "ask" in spec.on]
        found = [each for spec, look in looks for each in await self._found(spec, look, words)]
        return self._judged(found, "request" if tool is None else f"answer of the tool {tool:.64}")

    async def answer(self, text: str, tool: str | None = None) -> RailReport:
        """What the rails find in an answer's words, or in the arguments of a call of a `tool` as it wrote them.

        Raises NotAllowed where one of them blocks it.
        """
        words = text if tool is None else _unescaped(text)
        found: list[RailFinding] = []
        for spec, look in self._looks:
            if "answer" in spec.on and judges(spec.check, tool):
                found += await self._found(spec, look, text if isinstance(spec.check, Fits) else words)
        return self._judged(found, "answer" if tool is None else f"call of the tool {tool:.64}")

    def blocks(self, tool: str) -> bool:
        """Whether a rail may block the arguments of a call of the tool."""
        return bool(self._blocking(tool))

    def stream(self, tool: str | None = None) -> RailStream:
        """The rails over one streamed answer, or over the arguments of one call."""
        return RailStream(self, tool)

    async def window(self, text: str, since: int) -> RailReport:
        """What blocking rails find in a growing answer from place `since` on. Raises NotAllowed."""
        found: list[RailFinding] = []
        for spec, look in self._blocking(None):
            if reach_of(spec.check) is not None:
                whole = isinstance(spec.check, Size)
                found += await self._found(spec, look, text if whole else text[since:])
        return self._judged(found, "answer")

    def _blocking(self, tool: str | None) -> list[tuple[RailSpec, Look]]:
        on = [(spec, look) for spec, look in self._looks if "answer" in spec.on and spec.action == "block"]
        return [(spec, look) for spec, look in on if judges(spec.check, tool)]

    async def _found(self, spec: RailSpec, look: Look, text: str) -> Sequence[RailFinding]:
        try:
            message = await look(text)
        except Exception as error:
            # A rail that cannot look blocks where it is there to block: silence is no approval.
            log.error("the rail %s failed: %s", spec.name, type(error).__name__)
            message = "the rail itself failed"
        return () if message is None else (RailFinding(spec.name, message, spec.action == "block"),)

    def _judged(self, found: list[RailFinding], what: str) -> RailReport:
        report = RailReport(tuple(found))
        if report.blocked:
            told = "; ".join(f"{each.rail}: {each.message}" for each in found if each.blocked)
            raise NotAllowed(
                f"the {what} was stopped by a rail ({told})",
                next_step="Change what the rail objects to, or ask who runs this system to change the rail.",
            )
        return report


class RailStream:
    """One streamed answer: nothing that a blocking rail might still object to is given before it can be judged.

    Arguments of a call are words only once they are complete, and nobody can use a part of them.
    """

    def __init__(self, rails: Rails, tool: str | None = None) -> None:
        self._rails = rails
        self._tool = tool
        self._reach = rails.reach if tool is None else None if rails.blocks(tool) else 0
        self._text = ""
        self._given = 0

    async def feed(self, text: str) -> str:
        """What may be given so far. Raises NotAllowed."""
        self._text += text
        if self._reach is None:
            return ""
        if self._tool is not None:
            return self._taken(len(self._text))
        # What a finding could span and has not been judged whole: the end of what was given, and all since.
        await self._rails.window(self._text, max(0, self._given - self._reach))
        return self._taken(len(self._text) - self._reach)

    async def end(self) -> tuple[str, RailReport]:
        """The rest, and what the rails found. Raises NotAllowed."""
        report = await self._rails.answer(self._text, self._tool)
        return self._taken(len(self._text)), report

    def _taken(self, until: int) -> str:
        if until <= self._given:
            return ""
        piece = self._text[self._given : until]
        self._given = until
        return piece


def _words(document: Any, *, free: bool = False) -> str:
    pieces: list[str] = []

    def note(text: str) -> str:
        # What a tool gave is often JSON itself: an escape must not hide a letter.
        pieces.append(_unescaped(text) if "\\" in text and text.lstrip()[:1] in ("{", "[") else text)
        return text

    Walk(note, untouchable=pieces.append, free=free).over(document)
    return "\n".join(pieces)


def _unescaped(text: str) -> str:
    """The names and values of JSON text, one on each line; other text as it is."""
    try:
        # Pairs, not objects: of two members with one name each is looked at.
        document = json.loads(text, object_pairs_hook=lambda pairs: [list(pair) for pair in pairs])
    except (ValueError, RecursionError):
        return text
    return _words(document, free=True)
