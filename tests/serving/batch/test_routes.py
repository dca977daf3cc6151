"""Batch jobs over HTTP: queued, listed, shown and cancelled, with problems that name the field."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from batch_bench import ADA, MODEL, Bench, rows, write_parquet
from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import Response

from stanchion.core.errors import StanchionError
from stanchion.core.http.routes import CONTEXT, json_response
from stanchion.serving.batch.routes import add_batches


class Door:
    """The contract's names over the service, which the front desk gives it in a house."""

    def __init__(self, bench: Bench) -> None:
        service = bench.service
        self.submit_batch, self.batch_job, self.cancel_batch = service.submit, service.show, service.cancel
        self._service = service

    async def batches(self, ctx: Any, *, limit: int = 50) -> Any:
        return await self._service.newest(ctx, limit)


class Front:
    """What the door in front does: it puts the caller there."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope[CONTEXT] = ADA
        await self._app(scope, receive, send)


async def problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, StanchionError)
    return json_response(error.problem(), error.status)


@pytest.fixture
async def client(bench: Bench) -> AsyncIterator[httpx2.AsyncClient]:
    app, api, door = FastAPI(), APIRouter(), Door(bench)
    add_batches(api, door)  # type: ignore[arg-type]  # a part of the contract is enough here
    app.add_exception_handler(StanchionError, problem)
    app.include_router(api)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=Front(app)), base_url="http://test") as client:
        yield client


def body(bench: Bench, **more: Any) -> dict[str, Any]:
    files = {"input": str(bench.files / "in.parquet"), "output": str(bench.files / "out.parquet")}
    return {"model_id": MODEL, **files, "chunk_rows": 100, "picture": False, **more}


async def test_a_job_is_queued_and_ends_with_its_report(bench: Bench, client: httpx2.AsyncClient) -> None:
    write_parquet(bench.files / "in.parquet", rows(250))
    queued = await client.post("/v1/serving/batches", json=body(bench))
    assert queued.status_code == 202
    job = queued.json()["id"]
    async with asyncio.timeout(60):
        while (shown := (await client.get(f"/v1/serving/batches/{job}")).json())["state"] != "done":
            await asyncio.sleep(0.01)
    assert (shown["rows"], shown["version"], shown["report"]["predicted"]) == (250, "1.0.0", 250)
    listed = (await client.get("/v1/serving/batches?limit=5")).json()["data"]
    assert [each["id"] for each in listed] == [job]
    again = (await client.post("/v1/serving/batches", json=body(bench))).json()
    assert (again["id"], again["reused"]) == (job, True)
    assert (await client.post(f"/v1/serving/batches/{job}/cancel")).status_code == 409


async def test_problems_are_told_before_anything_is_queued(bench: Bench, client: httpx2.AsyncClient) -> None:
    write_parquet(bench.files / "in.parquet", rows(250))
    outside = await client.post("/v1/serving/batches", json=body(bench, input="/etc/passwd"))
    assert outside.status_code == 422
    assert outside.json()["errors"][0]["path"] == "$.input"
    assert "batch_folders" in outside.json()["next_step"]
    assert "passwd" not in outside.text
    assert (await client.post("/v1/serving/batches", json=body(bench, model_id="nowhere"))).status_code == 404
    assert (await client.post("/v1/serving/batches", json=body(bench, chunk_rows=1))).status_code == 422
    assert (await client.get("/v1/serving/batches/nothing")).status_code == 404
    assert (await client.get("/v1/serving/batches")).json()["data"] == []
