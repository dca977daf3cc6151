"""Serving over HTTP: one plain fast route for predictions, and management routes that document themselves."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, Field

from ..core.context import Context
from ..core.http import Routes, context_of, hot_route
from ..core.values import Json
from .answers import Ask, answered
from .batch.routes import add_batches
from .contract import ServedModel, Serving
from .journal.routes import add_feedback
from .openapi import PATHS, SCHEMAS
from .rollout.routes import add_drills, add_rollouts
from .sidecar.routes import add_sidecars

Caller = Annotated[Context, Depends(context_of)]
Reference = Annotated[str, Path(description="`name`, `name@alias` or `name@1.4.0`.")]
_DECODER = msgspec.json.Decoder(Ask)


class RungItem(BaseModel):
    """One rung of a model's ladder."""

    name: str
    kind: str = Field(description="onnx, function, remote, http, ensemble, chain, switch, rule or default.")
    breaker: str = Field(description="closed, open, half_open or restoring.")
    admitted: float = Field(description="The share of calls that the breaker lets pass, 0 to 1.")
    served: int = Field(description="Calls that this rung answered since the version was loaded.")
    failed: int = Field(description="Calls that it failed.")


class MemoryItem(BaseModel):
    """A version's graphs in this process."""

    loaded: bool = Field(description="Whether they are in memory; if not, the next call loads them.")
    bytes: int = Field(description="What they were measured to take.")
    cold_start_seconds: float | None = Field(description="How long their last load took.")


class CacheItem(BaseModel):
    """A model's cache since its version was loaded."""

    hits: int
    similar: int = Field(description="Answered by that of an input that was near enough.")
    coalesced: int = Field(description="Answered by an equal call under way.")
    misses: int
    entries: int
    rate: float = Field(description="The share of look-ups that it answered, 0 to 1.")


class BatchItem(BaseModel):
    """A model's batcher."""

    waiting: int = Field(description="Instances that wait for a run.")
    runs: int
    instances: int = Field(description="Instances in those runs.")
    shed: int = Field(description="Instances refused as they would have waited too long.")


class FeaturesItem(BaseModel):
    """The feature service that a model reads."""

    service: str
    pinned: str = Field(description="The fingerprint that the version was made with; empty if it pins none.")
    running: str = Field(description="The fingerprint that runs.")


class ServedItem(BaseModel):
    """A model as this process serves it."""

    model: str
    version: str | None = Field(description="null while only its rules can answer.")
    stage: str | None
    input_schema: dict[str, Json]
    output_schema: dict[str, Json]
    rungs: list[RungItem]
    loaded_at: str | None
    fault: str | None = Field(description="Why a newer version is not in service.")
    memory: MemoryItem | None = Field(None, description="null for what is no registered version.")
    cache: CacheItem | None = Field(None, description="null where none is declared; so for the two below.")
    batch: BatchItem | None = None
    features: FeaturesItem | None = None


class ServedList(BaseModel):
    """Served models, by name."""

    data: list[ServedItem]


def routes(serving: Serving) -> Routes:
    """The routes over a gated serving."""
    api = APIRouter(tags=["serving"])

    @api.get("/v1/serving/models")
    async def list_served(ctx: Caller) -> ServedList:
        """What this process serves to the caller's tenant."""
        return ServedList(data=[_item(each) for each in await serving.models(ctx)])

    @api.get("/v1/serving/models/{model}")
    async def show_served(ctx: Caller, model: Reference) -> ServedItem:
        """One served model: its schemas, and the state of each rung."""
        return _item(await serving.describe(ctx, model))

    add_rollouts(api, serving)
    add_drills(api, serving)
    add_feedback(api, serving)
    add_batches(api, serving)
    advice = add_sidecars(api, serving)

    hot = [hot_route("/v1/predictions", _DECODER, partial(answered, serving))]
    return Routes(api=api, hot=hot, paths=PATHS, schemas=SCHEMAS).joined(advice)


def _item(served: ServedModel) -> ServedItem:
    plain: Mapping[str, Any] = msgspec.to_builtins(served)
    return ServedItem.model_validate(plain)
