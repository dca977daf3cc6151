"""Feedback, quality and the journal over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr

from ...core.context import Context
from ...core.http import context_of
from ...core.values import Json
from ..contract import Feedback, Truth

Caller = Annotated[Context, Depends(context_of)]


class TruthBody(BaseModel):
    """What became of one prediction."""

    model_config = ConfigDict(extra="forbid")

    request_id: str = Field(min_length=1, max_length=200, description="The `request_id` of the answer.")
    label: StrictBool | StrictInt | StrictFloat | StrictStr | None = Field(
        None, description="What was true: 1 or 0 against a probability, or the name of the class."
    )
    outcome: StrictInt | StrictFloat | None = Field(None, description="A business number; higher is better.")
    metric: str = Field("outcome", description="The name of that number.")
    instance: int = Field(0, ge=0, description="The place in a request of several instances.")


class FeedbackRequest(BaseModel):
    """Truths, at most 1,000."""

    model_config = ConfigDict(extra="forbid")

    items: list[TruthBody]


class NotedItem(BaseModel):
    """What was done with one of them."""

    status: Literal["stored", "corrected", "repeated", "refused"]
    model: str
    version: str
    error: dict[str, Json] | None = Field(description="A problem document, where it was refused.")


class FeedbackResponse(BaseModel):
    """One for each item, in order."""

    results: list[NotedItem]


class BinItem(BaseModel):
    """One tenth of the calibration curve."""

    predicted: float
    observed: float
    count: int


class MeanItem(BaseModel):
    """A business metric."""

    count: int
    mean: float


class VersionItem(BaseModel):
    """One version, in one arm of a rollout."""

    version: str
    arm: str = Field(description="Empty outside a rollout.")
    predictions: int = Field(description="Predictions that the journal keeps.")
    labelled: int = Field(description="Those of them that have a label.")
    accuracy: float | None
    roc_auc: float | None
    brier: float | None = Field(description="Lower is better.")
    calibration: list[BinItem]
    outcomes: dict[str, MeanItem]


class QualityItem(BaseModel):
    """A model's versions by what came back."""

    model: str
    since: datetime
    versions: list[VersionItem]


class EntryItem(BaseModel):
    """One kept prediction."""

    request_id: str
    instance: int
    at: datetime
    model: str
    version: str
    arm: str
    rung: str
    inputs: dict[str, Json] = Field(description="Without omitted fields; an identifier is a digest.")
    output: dict[str, Json]
    overruled_by: str
    review: str


class EntryList(BaseModel):
    """The kept predictions of one request."""

    data: list[EntryItem]


def add_feedback(api: APIRouter, serving: Feedback) -> None:
    """Add the routes over a gated serving."""

    @api.post("/v1/feedback")
    async def feedback(ctx: Caller, body: FeedbackRequest) -> FeedbackResponse:
        """Store what became of predictions, joined by request id. Sending the same again changes nothing."""
        noted = await serving.feedback(ctx, [Truth(**each.model_dump()) for each in body.items])
        return FeedbackResponse.model_validate({"results": msgspec.to_builtins(noted)})

    @api.get("/v1/serving/models/{model}/quality")
    async def quality(
        ctx: Caller,
        model: Annotated[str, Path(description="The name of a model.")],
        days: Annotated[int, Query(ge=1, le=365, description="How far back.")] = 30,
    ) -> QualityItem:
        """How good each version is, by the labels and outcomes that came back."""
        return QualityItem.model_validate(_plain(await serving.quality(ctx, model, days=days)))

    @api.get("/v1/serving/journal/{request_id}")
    async def entries(ctx: Caller, request_id: str) -> EntryList:
        """The kept predictions of one request, opened: a right of its own."""
        return EntryList.model_validate({"data": _plain(await serving.journal(ctx, request_id))})


def _plain(value: object) -> Any:
    plain: Mapping[str, Any] = msgspec.to_builtins(value, builtin_types=(datetime,))
    return plain
