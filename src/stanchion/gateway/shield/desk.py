"""The gateway behind its shield: prompts are filled in, rails and privacy have their say, then the call goes on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from ...core.context import Context
from ...core.errors import StanchionError
from ...core.storage import Database
from ..contract.calls import Ask, Piece, Reply
from ..contract.rails import RailFinding
from ..privacy.guard import Guard, Verdict
from ..privacy.record import inspected
from ..prompts.calls import Prompted
from ..rails.rails import Rails
from ..routing.failing import failing
from ..wire.peek import Peek, peek_of
from . import words
from .strand import Strand
from .stream import ShieldedStream

Complete = Callable[[Context, Ask], Awaitable[Reply]]
Stream = Callable[[Context, Ask], AsyncGenerator[Piece, None]]
SENSITIVITY = "sensitivity"
"""The tag by which a caller declares the class of its call."""


@dataclass(slots=True)
class Checked:
    """A call that may go on, with what its answer must be looked at for."""

    ctx: Context
    ask: Ask
    verdict: Verdict | None
    findings: list[RailFinding]


class Shield:
    """Looks at calls and answers. What is not declared costs nothing."""

    def __init__(self, *, guard: Guard | None, rails: Rails | None, prompted: Prompted, database: Database) -> None:
        self._guard = guard
        self._rails = rails
        self._prompted = prompted
        self._database = database

    async def complete(self, ctx: Context, ask: Ask, inner: Complete) -> Reply:
        """The whole answer to the call as it may leave, as it may be given."""
        if self._guard is None and self._rails is None:
            return await inner(ctx, await self._prompted.filled(ctx, ask))
        checked = await self.checked(ctx, ask)
        reply = await inner(checked.ctx, checked.ask)
        if self._watches(checked):
            reply = replace(reply, body=await self._whole(checked, reply.body))
        if not checked.findings:
            return reply
        return replace(reply, account=replace(reply.account, flags=_names(checked)))

    async def stream(self, ctx: Context, ask: Ask, inner: Stream) -> AsyncGenerator[Piece, None]:
        """The streamed answer likewise. What is stopped after its beginning ends in an error event, then raises."""
        checked = await self.checked(ctx, ask)
        shielded = None
        if self._watches(checked):
            shielded = ShieldedStream(ask.shape, lambda tool: self._strand(checked, tool))
        async with aclosing(inner(checked.ctx, checked.ask)) as pieces:
            async for piece in pieces:
                if shielded is not None:
                    try:
                        piece = await _passed(shielded, piece, checked)
                    except StanchionError as error:
                        yield Piece(failing(ctx, ask.shape, error))
                        raise
                if checked.findings and piece.account is not None:
                    piece = replace(piece, account=replace(piece.account, flags=_names(checked)))
                yield piece

    async def checked(self, ctx: Context, ask: Ask) -> Checked:
        """The call as it may leave. Raises NotAllowed, InvalidInput, and NotFound for a prompt."""
        ask = await self._prompted.filled(ctx, ask)
        checked = Checked(ctx, ask, None, [])
        if self._guard is None and (self._rails is None or not self._rails.any("ask")):
            return checked
        peek = peek_of(ask)
        document: dict[str, Any] = msgspec.json.decode(ask.body)
        if self._rails is not None and self._rails.any("ask"):
            checked.findings += (await self._rails.ask(document)).findings
        if self._guard is not None:
            await self._judged(checked, peek, document, self._guard)
        return checked

    async def _judged(self, checked: Checked, peek: Peek, document: dict[str, Any], guard: Guard) -> None:
        ctx, ask = checked.ctx, checked.ask
        verdict = await guard.ask(ctx, document, ask.tags.get(SENSITIVITY, ""), size=len(ask.body))
        if verdict.found or verdict.failed:
            await inspected(self._database, ctx, verdict)
        checked.verdict = verdict
        checked.ctx = ctx.labelled(verdict.label)
        if verdict.changed:
            # Only what was touched is written anew: every other byte is the client's.
            new = {name: value for name, value in verdict.document.items() if value is not document.get(name)}
            checked.ask = replace(ask, body=peek.replaced(put=new))

    def _watches(self, checked: Checked) -> bool:
        guard, rails = self._guard, self._rails
        private = guard is not None and (guard.watches_answers or guard.turns_back)
        return checked.ask.shape != "embeddings" and (private or (rails is not None and rails.any("answer")))

    def _strand(self, checked: Checked, tool: str | None) -> Strand:
        return Strand(checked.ctx, self._guard, checked.verdict, self._rails, tool=tool)

    async def _whole(self, checked: Checked, body: bytes) -> bytes:
        document = msgspec.json.decode(body)
        changed = False
        for slot in words.whole(checked.ask.shape, document):
            strand, came = self._strand(checked, slot.tool), slot.text
            text = await strand.whole(came)
            checked.findings += strand.findings
            if text != came:
                slot.put(text)
                changed = True
        if not changed:
            return body
        words.forget_tokens(document)
        return msgspec.json.encode(document)


async def _passed(shielded: ShieldedStream, piece: Piece, checked: Checked) -> Piece:
    data = await shielded.feed(piece.data)
    if piece.account is not None:
        data += await shielded.close()
        checked.findings += shielded.findings
    return replace(piece, data=data)


def _names(checked: Checked) -> tuple[str, ...]:
    return tuple(dict.fromkeys(finding.rail for finding in checked.findings))
