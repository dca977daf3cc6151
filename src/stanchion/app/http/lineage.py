"""The lineage of features up to model versions over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from starlette.requests import Request

from ...core.context import Context
from ...core.http.routes import Routes, context_of
from ...features import Features, Lineage
from ...registry import Registry
from ..lineage import pinned, with_models


def _caller(request: Request) -> Context:
    return context_of(request)


Caller = Annotated[Context, Depends(_caller)]
ServiceName = Annotated[str, Path(description="The name of a declared feature service.")]


def routes(features: Features, registry: Registry | None) -> Routes:
    """The route over gated features and, where there is one, the registry."""
    api = APIRouter(tags=["features"])

    @api.get("/v1/lineage/features/{service}")
    async def lineage_to_models(ctx: Caller, service: ServiceName) -> Lineage:
        """From the columns of sources to the model versions that were made with the feature service."""
        found = await features.lineage(ctx, service)
        return with_models(found, await pinned(registry, ctx))

    return Routes(api=api)
