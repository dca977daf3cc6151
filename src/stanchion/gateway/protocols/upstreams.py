"""Upstreams over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field

from ...core.context import Context
from ...core.http import context_of
from ..contract.operations import Operations, UpstreamView

Caller = Annotated[Context, Depends(context_of)]
UpstreamName = Annotated[str, Path(max_length=128, description="The upstream's name.")]


class DrainRequest(BaseModel):
    """Whether an upstream is to be left alone."""

    model_config = ConfigDict(extra="forbid")

    drained: bool = Field(description="True: no more calls are sent to it; false: they are again.")


class UpstreamList(BaseModel):
    """Upstreams, by name."""

    data: list[UpstreamView]


def add_upstreams(api: APIRouter, operations: Operations) -> None:
    """Add the routes of upstreams."""

    @api.get("/upstreams")
    async def list_upstreams(ctx: Caller) -> UpstreamList:
        """The declared upstreams, which are drained, and what their probes say."""
        return UpstreamList(data=list(await operations.upstreams(ctx)))

    @api.put("/upstreams/{upstream}/drain")
    async def drain_upstream(ctx: Caller, upstream: UpstreamName, body: DrainRequest) -> UpstreamView:
        """Keep the tenant's calls from an upstream; those under way come to their end."""
        return await operations.drain(ctx, upstream, drained=body.drained)
