"""The feature store over HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from stanchion.core.errors import StanchionError
from stanchion.core.http.routes import CONTEXT
from stanchion.core.storage.open import open_keyvalue
from stanchion.features.module import MODULE
from stanchion.features.service import FeatureService
from stanchion.testing.clock import FakeClock
from stanchion.testing.features import ADA, VIEWS

ROW = {"key": "a", "values": {"tenure": 3, "charges": 1.5}, "at": "2025-12-31T23:59:59Z"}


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    clock = FakeClock()
    store = open_keyvalue("memory:", clock=clock)
    assert MODULE.routes is not None
    api = MODULE.routes(FeatureService(VIEWS, store=store, clock=clock)).api
    app = FastAPI()
    assert api is not None
    app.include_router(api)

    @app.exception_handler(StanchionError)
    async def problem(request: Request, error: StanchionError) -> JSONResponse:
        return JSONResponse(error.problem(), error.status)

    async def door(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, CONTEXT: ADA}, receive, send)

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=door), base_url="http://test") as made:
        made.app = app  # type: ignore[attr-defined]  # for the test of the document
        yield made
    await store.close()


async def test_what_is_pushed_is_read(client: httpx2.AsyncClient) -> None:
    pushed = await client.post("/v1/features/customers/push", json={"rows": [ROW]})
    assert (pushed.status_code, pushed.json()) == (200, {"newer": 1})
    read = await client.post("/v1/features/customers/read", json={"keys": ["a", "b"]})
    values = {"tenure": 3, "charges": 1.5, "plan": None, "since": None}
    assert read.json()["data"] == [
        {"key": "a", "status": "present", "values": values, "at": "2025-12-31T23:59:59Z"},
        {"key": "b", "status": "unknown", "values": {}, "at": None},
    ]


async def test_the_catalogue_is_listed(client: httpx2.AsyncClient) -> None:
    found = (await client.get("/v1/features")).json()["data"]
    assert [view["name"] for view in found] == ["customers", "shops"]
    assert found[1]["fields"] == {"shop": "string", "rank": "integer"}


async def test_a_bad_row_is_told_by_its_path(client: httpx2.AsyncClient) -> None:
    bad = {**ROW, "values": {"tenure": "3", "charges": 1.5}}
    refused = await client.post("/v1/features/customers/push", json={"rows": [ROW, bad]})
    assert (refused.status_code, refused.json()["errors"][0]["path"]) == (422, "$.rows[1].values.tenure")


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("none/read", {"keys": ["a"]}, 404),
        ("none/push", {"rows": [ROW]}, 404),
        ("customers/read", {"keys": []}, 422),
        ("customers/read", {"keys": ["a"], "more": 1}, 422),
        ("customers/push", {"rows": []}, 422),
        ("customers/push", {"rows": [{**ROW, "at": "2025-12-31T23:59:59"}]}, 422),
        ("customers/push", {"rows": [{**ROW, "at": "2030-01-01T00:00:00Z"}]}, 422),
        ("customers/push", {"rows": [{**ROW, "ttl": 1}]}, 422),
    ],
)
async def test_what_is_wrong_is_refused(
    client: httpx2.AsyncClient, path: str, body: dict[str, Any], status: int
) -> None:
    assert (await client.post(f"/v1/features/{path}", json=body)).status_code == status


async def test_the_document_describes_every_answer(client: httpx2.AsyncClient) -> None:
    document = client.app.openapi()  # type: ignore[attr-defined]  # set by the fixture
    json.dumps(document)
    for operations in document["paths"].values():
        for operation in operations.values():
            assert operation["description"]
            assert operation["responses"]["200"]["content"]["application/json"]["schema"]
