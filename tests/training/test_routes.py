"""Training over HTTP: a report at the end or events as they happen, and no source of the caller's choosing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from stanchion.core.errors import InvalidInput, StanchionError
from stanchion.core.http.routes import CONTEXT, json_response
from stanchion.training.backends.scripted import ScriptedTrainer
from stanchion.training.module import MODULE


@pytest.fixture
def trainer() -> ScriptedTrainer:
    return ScriptedTrainer()


async def problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, StanchionError)
    return json_response(error.problem(), error.status)


@pytest.fixture
async def client(service: Any, trainer: ScriptedTrainer, ctx: Any) -> AsyncIterator[httpx2.AsyncClient]:
    assert MODULE.routes is not None
    app = FastAPI()
    app.add_exception_handler(StanchionError, problem)
    app.include_router(MODULE.routes(service(trainer=trainer)).api)

    async def front(scope: Any, receive: Any, send: Any) -> None:
        # The door gives every request a deadline; a training must outlive it.
        scope[CONTEXT] = replace(ctx, deadline=0.0)
        await app(scope, receive, send)

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=front), base_url="http://test") as client:
        yield client


def events(text: str) -> list[tuple[str, Any]]:
    blocks = [dict(line.split(": ", 1) for line in block.split("\n")) for block in text.strip().split("\n\n")]
    return [(block["event"], json.loads(block["data"])) for block in blocks]


async def test_the_report_is_the_answer(client: httpx2.AsyncClient) -> None:
    response = await client.post("/v1/models/size/trainings")
    assert response.status_code == 200
    assert (response.json()["model"], response.json()["version"]) == ("size", "1.0.0")


async def test_events_are_streamed_to_who_accepts_them(client: httpx2.AsyncClient) -> None:
    response = await client.post("/v1/models/size/trainings", headers={"accept": "text/event-stream"})
    told = events(response.text)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert [name for name, _ in told][::6] == ["started", "registered"]
    assert told[-1][1]["report"]["roc_auc"] == 0.9


async def test_an_error_before_the_first_event_has_its_status(client: httpx2.AsyncClient) -> None:
    for headers in ({}, {"accept": "text/event-stream"}):
        assert (await client.post("/v1/models/nowhere/trainings", headers=headers)).status_code == 404


async def test_an_error_on_the_way_is_the_last_event(client: httpx2.AsyncClient, trainer: ScriptedTrainer) -> None:
    trainer.fault = InvalidInput("the data has no column size")
    response = await client.post("/v1/models/size/trainings", headers={"accept": "text/event-stream"})
    name, content = events(response.text)[-1]
    assert (name, content["code"]) == ("error", "invalid_input")
    assert (await client.post("/v1/models/size/trainings")).status_code == 422


async def test_no_source_can_be_named(client: httpx2.AsyncClient, registry: Any, ctx: Any) -> None:
    await client.post("/v1/models/size/trainings?source=/etc/passwd", json={"source": "/etc/passwd"})
    assert (await registry.resolve(ctx, "size")).lineage.data_source == "made up"


async def test_a_data_set_of_reviews_can_be_named_and_nothing_else(client: httpx2.AsyncClient) -> None:
    for named, status in (("loans@1", 500), ("/etc/passwd", 500), ("two words", 422)):
        response = await client.post("/v1/models/size/trainings", params={"review": named})
        assert response.status_code == status
        assert "reviews" in response.json()["detail"] or "no data set" in response.json()["detail"]


async def test_leaving_the_stream_ends_the_training(service: Any, trainer: ScriptedTrainer, ctx: Any) -> None:
    from stanchion.training.routes import _stream

    stream = service(trainer=trainer).train(ctx, "size")
    trainer.hold = asyncio.Event()
    lines = _stream(await anext(stream), stream)
    assert (await anext(lines)).startswith(b"event: started")
    waiting = asyncio.ensure_future(anext(lines))
    while not trainer.running:
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert trainer.running == 0


async def test_trainable_models_are_listed(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/v1/trainings")).json() == {"data": ["fails", "hangs", "size"]}
