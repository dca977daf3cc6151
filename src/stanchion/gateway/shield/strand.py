"""One strand of a streamed answer on its way to the caller: rails judge it, then privacy has its say."""

from __future__ import annotations

from ...core.context import Context
from ..contract.rails import RailFinding
from ..privacy.guard import Guard, Verdict
from ..privacy.stream import AnswerStream, ArgumentStream
from ..rails.rails import Rails, RailStream


class Strand:
    """Words as they come. `tool` is the one whose arguments they are, None for what the model says itself."""

    def __init__(
        self, ctx: Context, guard: Guard | None, verdict: Verdict | None, rails: Rails | None, *, tool: str | None
    ) -> None:
        self._rails: RailStream | None = rails.stream(tool) if rails is not None and rails.any("answer") else None
        self._privacy: AnswerStream | ArgumentStream | None = None
        if guard is None or verdict is None:
            return
        if guard.watches_answers and tool is not None:
            self._privacy = ArgumentStream(guard, ctx, verdict)
        elif guard.watches_answers or guard.turns_back:
            self._privacy = AnswerStream(guard, ctx, verdict, json=tool is not None)
        self.findings: tuple[RailFinding, ...] = ()

    async def feed(self, text: str) -> str:
        """What may be given so far. Raises NotAllowed."""
        if self._rails is not None:
            text = await self._rails.feed(text)
        return await self._privacy.feed(text) if self._privacy is not None and text else text

    async def end(self) -> str:
        """The rest. Raises NotAllowed."""
        rest = ""
        if self._rails is not None:
            rest, report = await self._rails.end()
            self.findings = tuple(report.findings)
        if self._privacy is not None:
            rest = (await self._privacy.feed(rest) if rest else "") + await self._privacy.end()
        return rest

    async def whole(self, text: str) -> str:
        """Words that have come at once. Raises NotAllowed."""
        return await self.feed(text) + await self.end()
