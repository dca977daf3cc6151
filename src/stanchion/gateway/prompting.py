"""The prompts of the gateway, answered by their own service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..core.context import Context
from ..core.values import Json
from .contract.prompts import Message, Prompt, Prompts, PromptView, Rendered, Variable


class Prompting(Prompts):
    """Hands every question on."""

    def __init__(self, prompts: Prompts) -> None:
        self._prompts = prompts

    async def prompts(self, ctx: Context) -> Sequence[PromptView]:
        return await self._prompts.prompts(ctx)

    async def prompt(self, ctx: Context, name: str, version: int | None = None) -> Prompt:
        return await self._prompts.prompt(ctx, name, version)

    async def add_prompt(
        self,
        ctx: Context,
        name: str,
        messages: Sequence[Message],
        *,
        variables: Sequence[Variable] = (),
        note: str = "",
        after: int | None = None,
    ) -> Prompt:
        return await self._prompts.add_prompt(ctx, name, messages, variables=variables, note=note, after=after)

    async def label_prompt(self, ctx: Context, name: str, label: str, weights: Mapping[int, float]) -> PromptView:
        return await self._prompts.label_prompt(ctx, name, label, weights)

    async def render_prompt(
        self, ctx: Context, name: str, variables: Mapping[str, Json], *, label: str = "production", unit: str = ""
    ) -> Rendered:
        return await self._prompts.render_prompt(ctx, name, variables, label=label, unit=unit)
