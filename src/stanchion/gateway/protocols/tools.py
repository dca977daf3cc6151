"""Tools over HTTP, for people and programs that do not speak MCP."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path
from pydantic import BaseModel, ConfigDict, Field

from ...core.context import Context
from ...core.http import context_of
from ..contract.tools import ToolAnswer, Tools, ToolView

Caller = Annotated[Context, Depends(context_of)]
Sensitivity = Annotated[
    str, Header(alias="x-stanchion-sensitivity", max_length=64, description="The class of the arguments.")
]
ToolName = Annotated[str, Path(max_length=260, description="SERVER__TOOL.")]


class CallRequest(BaseModel):
    """A call of a tool."""

    model_config = ConfigDict(extra="forbid")

    arguments: dict[str, Any] = Field({}, description="As the tool's schema has them.")


class ToolItem(BaseModel):
    """A tool."""

    name: str
    description: str
    input_schema: dict[str, Any]
    server: str


class ToolList(BaseModel):
    """Tools, by name."""

    data: list[ToolItem]


class AnswerItem(BaseModel):
    """What a tool gave, in the parts of MCP."""

    content: list[dict[str, Any]]
    structured: dict[str, Any] | None
    failed: bool


def add_tools(api: APIRouter, tools: Tools) -> None:
    """Add the routes of tools."""

    @api.get("/tools")
    async def list_tools(ctx: Caller) -> ToolList:
        """The tools that the caller may call."""
        return ToolList(data=[_item(each) for each in await tools.tools(ctx)])

    @api.post("/tools/{tool}")
    async def call_tool(ctx: Caller, tool: ToolName, body: CallRequest, sensitivity: Sensitivity = "") -> AnswerItem:
        """Call a tool, once."""
        return _answer(await tools.call_tool(ctx, tool, body.arguments, sensitivity=sensitivity))


def _item(tool: ToolView) -> ToolItem:
    return ToolItem(name=tool.name, description=tool.description, input_schema=dict(tool.schema), server=tool.server)


def _answer(answer: ToolAnswer) -> AnswerItem:
    structured = None if answer.structured is None else dict(answer.structured)
    return AnswerItem(content=[dict(part) for part in answer.content], structured=structured, failed=answer.failed)
