"""Runs a system's rails over requests, whole answers and streamed ones."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ...core.errors import NotAllowed
from ..contract.rails import RailFinding, RailReport, RailSpec, Side, Size
from ..privacy.documents import Walk
from .checks import Look, look_of, reach_of

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
        reaches = [reach_of(spec.check) for spec, _ in self._looks if "answer" in spec.on and spec.action == "block"]
        return None if None in reaches else max((reach for reach in reaches if reach is not None), default=0)

    async def ask(self, document: Mapping[str, Any]) -> RailReport:
        """What the rails find in all words of a request. Raises NotAllowed where one of them blocks it."""
        return self._judged(await self._findings("ask", _words(document)), "request")

    async def answer(self, text: str) -> RailReport:
        """What the rails find in an answer's words. Raises NotAllowed where one of them blocks it."""
        return self._judged(await self._findings("answer", text), "answer")

    def stream(self) -> RailStream:
        """The rails over one streamed answer."""
        return RailStream(self)

    async def window(self, text: str, since: int) -> RailReport:
        """What blocking rails find in a growing answer from place `since` on. Raises NotAllowed."""
        found: list[RailFinding] = []
        for spec, look in self._looks:
            if "answer" in spec.on and spec.action == "block" and reach_of(spec.check) is not None:
                whole = isinstance(spec.check, Size)
                found += await self._found(spec, look, text if whole else text[since:])
        return self._judged(found, "answer")

    async def _findings(self, side: Side, text: str) -> list[RailFinding]:
        found: list[RailFinding] = []
        for spec, look in self._looks:
            if side in spec.on:
                found += await self._found(spec, look, text)
        return found

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
    """One streamed answer: nothing that a blocking rail might still object to is given before it can be judged."""

    def __init__(self, rails: Rails) -> None:
        self._rails = rails
        self._reach = rails.reach
        self._text = ""
        self._given = 0

    async def feed(self, text: str) -> str:
        """What may be given so far. Raises NotAllowed."""
        self._text += text
        if self._reach is None:
            return ""
        # What a finding could span and has not been judged whole: the end of what was given, and all since.
        await self._rails.window(self._text, max(0, self._given - self._reach))
        return self._taken(len(self._text) - self._reach)

    async def end(self) -> tuple[str, RailReport]:
        """The rest, and what the rails found. Raises NotAllowed."""
        report = await self._rails.answer(self._text)
        return self._taken(len(self._text)), report

    def _taken(self, until: int) -> str:
        if until <= self._given:
            return ""
        piece = self._text[self._given : until]
        self._given = until
        return piece


def _words(document: Mapping[str, Any]) -> str:
    pieces: list[str] = []

    def note(text: str) -> str:
        pieces.append(text)
        return text

    Walk(note, untouchable=pieces.append).over(document)
    return "\n".join(pieces)
