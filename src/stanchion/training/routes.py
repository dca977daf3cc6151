"""Training over HTTP. No file can be named here: a caller far away must not choose what files we read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from ..core.context import Context
from ..core.errors import StanchionError
from ..core.http import Routes, context_of, json_response
from .contract import Training, TrainingEvent, TrainingReport

Caller = Annotated[Context, Depends(context_of)]
ModelName = Annotated[str, Path(description="The name of a model whose training is declared.")]
ReviewSet = Annotated[
    str | None,
    Query(description="A version of what reviewers decided, as QUEUE@VERSION; the declared data function reads it."),
]
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The report; or, for `Accept: text/event-stream`, each step as an event named by its stage.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


class TrainableList(BaseModel):
    """Names of the models that can be trained here."""

    data: list[str]


def routes(training: Training) -> Routes:
    """The routes over a gated training service."""
    api = APIRouter(tags=["training"])

    @api.get("/v1/trainings")
    async def list_trainable(ctx: Caller) -> TrainableList:
        """The models that the system declares with a training."""
        return TrainableList(data=list(await training.declared(ctx)))

    @api.post("/v1/models/{model}/trainings", response_model=TrainingReport, responses=_STREAM)
    async def train(ctx: Caller, model: ModelName, request: Request, review: ReviewSet = None) -> Response:
        """Train on the declared data or on what people decided, check, export and register.

        With `Accept: text/event-stream` the steps come as they happen, and leaving ends the training. Otherwise the
        answer comes when all is done. `Request-Timeout` bounds the training; without it an hour does.
        """
        if "request-timeout" not in request.headers:
            # The door's general limit is for answers; a training has its own, in the contract.
            ctx = replace(ctx, deadline=None)
        events = training.train(ctx, model, source=None if review is None else f"review:{review}")
        if "text/event-stream" in request.headers.get("accept", ""):
            first = await anext(events)
            return StreamingResponse(_stream(first, events), media_type="text/event-stream")
        report = None
        async for event in events:
            report = event.report
        return json_response(report)

    return Routes(api=api)


async def _stream(first: TrainingEvent, rest: AsyncIterator[TrainingEvent]) -> AsyncIterator[bytes]:
    """Server-sent events. An error is an event too: the status line is long gone."""
    try:
        yield _event(first.stage, first)
        async for event in rest:
            yield _event(event.stage, event)
    except StanchionError as error:
        yield _event("error", error.problem())
    finally:
        close = getattr(rest, "aclose", None)
        if close is not None:
            await close()


def _event(name: str, content: object) -> bytes:
    return f"event: {name}\ndata: ".encode() + msgspec.json.encode(content) + b"\n\n"
