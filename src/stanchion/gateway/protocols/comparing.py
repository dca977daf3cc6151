"""Scores and comparisons over HTTP."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from ...core.context import Context
from ...core.http import context_of
from ..contract.comparison import Comparison, Comparisons, Score

Caller = Annotated[Context, Depends(context_of)]


class ScoreItem(BaseModel):
    """How good one answer was."""

    model_config = ConfigDict(extra="forbid")

    request_id: str = Field(max_length=64, description="The `x-request-id` of the answer.")
    value: float = Field(allow_inf_nan=False, description="Larger is better.")
    name: str = Field("score", min_length=1, max_length=64, description="On which scale.")


class ScoreRequest(BaseModel):
    """Scores to keep."""

    model_config = ConfigDict(extra="forbid")

    scores: list[ScoreItem] = Field(min_length=1, max_length=1_000)


class Scored(BaseModel):
    """How many were kept."""

    kept: int


def add_comparisons(api: APIRouter, comparisons: Comparisons) -> None:
    """Add the routes of scores and comparisons."""

    @api.post("/scores")
    async def score_answers(ctx: Caller, body: ScoreRequest) -> Scored:
        """Tell how good answers were."""
        scores = [Score(each.request_id, each.value, each.name) for each in body.scores]
        return Scored(kept=await comparisons.score(ctx, scores))

    @api.get("/comparison")
    async def compare_variants(
        ctx: Caller,
        prompt: Annotated[str, Query(max_length=127, description="Compare the versions of this prompt.")] = "",
        route: Annotated[str, Query(max_length=127, description="Or the models of this route.")] = "",
        start: Annotated[date | None, Query(description="The first day, in UTC.")] = None,
        end: Annotated[date | None, Query(description="The day behind the last.")] = None,
        score: Annotated[str, Query(max_length=64, description="The scale of scores.")] = "score",
        baseline: Annotated[str, Query(max_length=256, description="The variant that others are held against.")] = "",
        confidence: Annotated[float, Query(ge=0.5, le=0.999)] = 0.95,
    ) -> Comparison:
        """Versions of a prompt or models of a route by cost, latency and score, with confidence intervals."""
        return await comparisons.compare(
            ctx,
            prompt=prompt,
            route=route,
            start=start,
            end=end,
            score=score,
            baseline=baseline,
            confidence=confidence,
        )
