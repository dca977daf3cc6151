"""The registry over HTTP. The list of models is also what OpenAI clients expect at `/v1/models`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from ..core.context import Context
from ..core.http import Routes, context_of
from ..core.values import Json
from .contract import File, Format, Lineage, ModelSummary, ModelVersion, Promotion, Registry, Stage

Caller = Annotated[Context, Depends(context_of)]
ModelName = Annotated[str, Path(description="The name of a model.")]
Version = Annotated[str, Path(description="A version such as 1.4.0.", pattern=r"^\d+\.\d+\.\d+$")]
Alias = Annotated[str, Path(description="An alias; latest, production and staging are reserved.")]
Limit = Annotated[int, Query(ge=1, le=100, description="The most items to give.")]


class Body(BaseModel):
    """A request's body: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class PromotionRequest(Body):
    """A stage change to ask for, or to decide if another person asked for it."""

    version: str = Field(description="The version to move, such as 1.4.0.")
    to: Stage = Field(description="The stage to move it to.")
    evidence: str = Field("", description="What was compared, with what result; needed for production.")


class RollbackRequest(Body):
    """Why the production version is taken back."""

    reason: str = Field(description="Why; kept with the promotion, not in the audit log.")


class AliasRequest(Body):
    """Where an alias shall point."""

    version: str = Field(description="A version such as 1.4.0.")


class ModelItem(BaseModel):
    """A model in a list. `id`, `object`, `created` and `owned_by` are as OpenAI gives them."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="Seconds since the epoch of its last change.")
    owned_by: str = "stanchion"
    versions: int
    latest: str
    production: str | None


class ModelList(BaseModel):
    """Models by name; `next`, if set, is the `after` of the next page."""

    object: Literal["list"] = "list"
    data: list[ModelItem]
    next: str | None = None


class VersionItem(BaseModel):
    """A version of a model."""

    id: str = Field(description="The model's name.")
    object: Literal["model"] = "model"
    created: int = Field(description="Seconds since the epoch of its registration.")
    owned_by: str = "stanchion"
    version: str
    stage: Stage
    aliases: list[str]
    format: Format
    input_schema: dict[str, Json]
    output_schema: dict[str, Json]
    metrics: dict[str, float]
    parameters: dict[str, Json]
    metadata: dict[str, Json]
    lineage: Lineage
    weights_sha256: str
    card: str
    files: list[File]
    created_at: datetime
    created_by: str
    manifest_sha256: str
    signature: str
    key_id: str


class VersionList(BaseModel):
    """Versions, newest first."""

    data: list[VersionItem]


class PromotionList(BaseModel):
    """Promotions, newest first."""

    data: list[Promotion]


class AliasItem(BaseModel):
    """An alias and the version it points at."""

    model: str
    alias: str
    version: str


def routes(registry: Registry) -> Routes:
    """The routes over a gated registry."""
    api = APIRouter(tags=["models"])
    _reading(api, registry)
    _changing(api, registry)
    return Routes(api=api)


def _reading(api: APIRouter, registry: Registry) -> None:
    @api.get("/v1/models")
    async def list_models(
        ctx: Caller, after: Annotated[str, Query(description="Names after this one.")] = "", limit: Limit = 100
    ) -> ModelList:
        """Models of the caller's tenant by ascending name."""
        found = await registry.models(ctx, after=after, limit=limit)
        items = [_model_item(each) for each in found]
        return ModelList(data=items, next=items[-1].id if len(items) == limit else None)

    @api.get("/v1/models/{model}")
    async def show_model(
        ctx: Caller, model: Annotated[str, Path(description="`name`, `name@alias` or `name@1.4.0`.")]
    ) -> VersionItem:
        """The version that a reference means now: a bare name is the one in production, or else the newest."""
        return _version_item(await registry.resolve(ctx, model))

    @api.get("/v1/models/{model}/versions")
    async def list_versions(ctx: Caller, model: ModelName, limit: Limit = 100) -> VersionList:
        """Versions of a model, newest first."""
        found = await registry.versions(ctx, model, limit=limit)
        return VersionList(data=[_version_item(each) for each in found])

    @api.get("/v1/models/{model}/versions/{version}")
    async def show_version(ctx: Caller, model: ModelName, version: Version) -> VersionItem:
        """One version of a model."""
        return _version_item(await registry.resolve(ctx, f"{model}@{version}"))

    @api.get("/v1/models/{model}/promotions")
    async def list_promotions(ctx: Caller, model: ModelName, limit: Limit = 50) -> PromotionList:
        """Stage changes of a model, newest first; empty for an unknown model."""
        return PromotionList(data=list(await registry.promotions(ctx, model, limit=limit)))


def _changing(api: APIRouter, registry: Registry) -> None:
    @api.post("/v1/models/{model}/promotions", responses={202: {"model": Promotion, "description": "Pending"}})
    async def promote(ctx: Caller, model: ModelName, body: PromotionRequest, response: Response) -> Promotion:
        """Ask for a stage change, or decide the one another person asked for. 202: it waits for a second person."""
        promotion = await registry.promote(ctx, model, body.version, to=body.to, evidence=body.evidence)
        if promotion.status == "pending":
            response.status_code = 202
        return promotion

    @api.post("/v1/models/{model}/rollback")
    async def roll_back(ctx: Caller, model: ModelName, body: RollbackRequest) -> VersionItem:
        """Put the production version before this one back, at once."""
        return _version_item(await registry.rollback(ctx, model, reason=body.reason))

    @api.put("/v1/models/{model}/aliases/{alias}")
    async def set_alias(ctx: Caller, model: ModelName, alias: Alias, body: AliasRequest) -> AliasItem:
        """Point an alias at a version."""
        await registry.alias(ctx, model, alias, body.version)
        return AliasItem(model=model, alias=alias, version=body.version)

    @api.delete("/v1/models/{model}/aliases/{alias}", status_code=204)
    async def remove_alias(ctx: Caller, model: ModelName, alias: Alias) -> None:
        """Remove an alias."""
        await registry.alias(ctx, model, alias, None)


def _model_item(summary: ModelSummary) -> ModelItem:
    return ModelItem(
        id=summary.model,
        created=int(summary.updated_at.timestamp()),
        versions=summary.versions,
        latest=summary.latest,
        production=summary.production,
    )


def _version_item(version: ModelVersion) -> VersionItem:
    fields = {**asdict(version), "id": version.model, "created": int(version.created_at.timestamp())}
    del fields["model"]
    return VersionItem.model_validate(fields)
