"""Prompts over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from ...core.context import Context
from ...core.errors import InvalidInput
from ...core.http import context_of
from ...core.values import Json
from ..contract.prompts import Message, Prompt, PromptRole, Prompts, PromptView, Rendered, Variable, VariableType

Caller = Annotated[Context, Depends(context_of)]
PromptName = Annotated[str, Path(max_length=127, description="The prompt's name.")]
Label = Annotated[str, Path(max_length=63, description="A label, such as `production`.")]
Version = Annotated[int | None, Query(ge=1, description="A version; unset: the newest.")]


class Body(BaseModel):
    """A request's body: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class MessageItem(Body):
    """A turn of the template."""

    role: PromptRole
    text: str = Field(max_length=200_000, description="Words with gaps such as `{{customer}}`.")


class VariableItem(Body):
    """A gap."""

    name: str = Field(max_length=64)
    type: VariableType = "string"
    default: Json = None
    required: bool = True


class VersionRequest(Body):
    """A new version."""

    messages: list[MessageItem] = Field(max_length=100)
    variables: list[VariableItem] = Field([], max_length=100)
    note: str = Field("", max_length=1000, description="Why it was made.")
    after: int | None = Field(None, ge=0, description="The version that it is meant to follow; 0: there is none yet.")


class LabelRequest(Body):
    """What a label shows."""

    weights: dict[str, float] = Field(max_length=20, description="Weights by version; none take the label away.")


class RenderRequest(Body):
    """Values for the gaps."""

    variables: dict[str, Any] = {}
    label: str = Field("production", max_length=63, description="A label, or a version.")
    unit: str = Field("", max_length=256, description="What stays on one side of a label that shows several versions.")


def add_prompts(api: APIRouter, prompts: Prompts) -> None:
    """Add the routes of prompts."""

    @api.get("/prompts")
    async def list_prompts(ctx: Caller) -> list[PromptView]:
        """Every prompt with its labels."""
        return list(await prompts.prompts(ctx))

    @api.get("/prompts/{prompt}")
    async def get_prompt(ctx: Caller, prompt: PromptName, version: Version = None) -> Prompt:
        """One version of a prompt."""
        return await prompts.prompt(ctx, prompt, version)

    @api.post("/prompts/{prompt}", status_code=201)
    async def add_prompt(ctx: Caller, prompt: PromptName, body: VersionRequest) -> Prompt:
        """Add a version."""
        return await prompts.add_prompt(
            ctx,
            prompt,
            [Message(each.role, each.text) for each in body.messages],
            variables=[Variable(each.name, each.type, each.default, each.required) for each in body.variables],
            note=body.note,
            after=body.after,
        )

    @api.put("/prompts/{prompt}/labels/{label}")
    async def label_prompt(ctx: Caller, prompt: PromptName, label: Label, body: LabelRequest) -> PromptView:
        """Let a label show one version, or several by weight."""
        return await prompts.label_prompt(ctx, prompt, label, _weights(body.weights))

    @api.post("/prompts/{prompt}/render")
    async def render_prompt(ctx: Caller, prompt: PromptName, body: RenderRequest) -> Rendered:
        """The messages with their gaps filled."""
        return await prompts.render_prompt(ctx, prompt, body.variables, label=body.label, unit=body.unit)


def _weights(given: dict[str, float]) -> dict[int, float]:
    """JSON has words for keys. Raises InvalidInput."""
    try:
        return {int(version): weight for version, weight in given.items()}
    except ValueError:
        raise InvalidInput('the weights are by version, such as {"3": 1}') from None
