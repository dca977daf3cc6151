"""Looks through what goes to tools and what comes from them, by the same rules as calls of models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from ...core.context import Context
from ...core.errors import InvalidInput, NotAllowed
from ...core.storage import Database
from ...core.values import Json
from ..contract.privacy import SENSITIVITIES, highest
from ..contract.rails import RailReport
from ..contract.tools import ToolAnswer, ToolServerSpec
from ..privacy.guard import Guard, Verdict
from ..privacy.record import counts, inspected, reached, withheld
from ..rails.rails import Rails
from ..shield.placing import Placing


@dataclass(frozen=True, slots=True)
class Screened:
    """A call that may go to its server, with the arguments as they may."""

    ctx: Context
    tool: str
    arguments: Mapping[str, Json]
    verdict: Verdict | None


class Screen:
    """Without declared rules (`guard`, `rails`) nothing is looked for, and what is labelled is placed all the same.

    Rails of answers judge arguments, which a model wrote; rails of requests judge what a model will read.
    """

    def __init__(self, guard: Guard | None, rails: Rails | None, placing: Placing, database: Database) -> None:
        self._guard = guard
        self._rails = rails
        self._placing = placing
        self._database = database

    async def sent(
        self, ctx: Context, spec: ToolServerSpec, tool: str, arguments: Mapping[str, Json], sensitivity: str
    ) -> Screened:
        """The call as it may go; the audit log says so before it goes. Raises NotAllowed, InvalidInput."""
        verdict = None
        if self._rails is not None:
            _flagged(ctx, await self._rails.answer(msgspec.json.encode(arguments).decode(), tool))
        if self._guard is not None:
            size = len(msgspec.json.encode(arguments))
            verdict = await self._guard.ask(
                ctx, dict(arguments), sensitivity, size=size, free=True, as_given=spec.as_given
            )
            if verdict.found or verdict.failed or verdict.opaque:
                await inspected(self._database, ctx, verdict, resource=f"Tool::{tool}")
                _note(ctx, label=verdict.label, **counts("found", verdict.found), **counts("treated", verdict.treated))
            ctx, arguments = ctx.labelled(verdict.label), verdict.document
        elif sensitivity:
            ctx = ctx.labelled(*[label for label in SENSITIVITIES if label == sensitivity])
            if sensitivity not in SENSITIVITIES:
                raise InvalidInput(f"{sensitivity!r:.80} is no sensitivity; they are {', '.join(SENSITIVITIES)}")
        await self._placed(ctx, spec, tool)
        return Screened(ctx, tool, arguments, verdict)

    async def given(self, screened: Screened, answer: ToolAnswer) -> ToolAnswer:
        """The answer as the caller may have it. Raises NotAllowed: the tool has been called then all the same."""
        guard, verdict, ctx = self._guard, screened.verdict, screened.ctx
        document: Mapping[str, Any] = {"content": list(answer.content), "structured": answer.structured}
        if self._rails is not None:
            _flagged(ctx, await self._rails.ask(document, tool=screened.tool))
        if guard is None or verdict is None:
            return answer
        if guard.watches_answers:
            looked = await guard.given(document, size=len(msgspec.json.encode(document)))
            _note(ctx, **counts("answer", looked.found))
            document = looked.document
        if guard.turns_back:
            document = await self._turned_back(ctx, document, verdict)
        return replace(answer, content=document["content"], structured=document["structured"])

    async def _placed(self, ctx: Context, spec: ToolServerSpec, tool: str) -> None:
        label = highest(*ctx.labels)
        if reason := self._placing.server(ctx, spec):
            await withheld(self._database, ctx, label, tool=tool)
            raise NotAllowed(f"the tool {tool:.200} may not have this data: {reason}")
        if self._placing.guards(ctx):
            place = "on_premises" if spec.on_premises else spec.region or "unnamed"
            await reached(self._database, ctx, label, tool=tool, place=place)

    async def _turned_back(self, ctx: Context, value: Any, verdict: Verdict) -> Any:
        """The same with this tenant's tokens turned back, in every text but not in names."""
        guard = self._guard
        if guard is None:
            return value
        if isinstance(value, str):
            return await guard.restored(ctx, value, verdict, json=value[:1] in ("{", "["))
        if isinstance(value, list):
            return [await self._turned_back(ctx, each, verdict) for each in value]
        if isinstance(value, dict):
            return {name: await self._turned_back(ctx, each, verdict) for name, each in value.items()}
        return value


def _flagged(ctx: Context, report: RailReport) -> None:
    _note(ctx, **{f"rail_{finding.rail}": finding.message for finding in report.findings})


def _note(ctx: Context, **facts: str | int | float | bool | None) -> None:
    """Let the event that tells of the call tell this of it as well."""
    if ctx.effect is not None:
        ctx.effect.note(**facts)
