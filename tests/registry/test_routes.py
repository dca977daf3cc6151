"""The registry over HTTP: shapes that OpenAI clients and people expect, and nothing that the contract lacks."""

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
from stanchion.registry.module import MODULE
from stanchion.testing.registry_cases import ADA, BOB, FILES, draft


@pytest.fixture
async def client(registry: Any) -> AsyncIterator[httpx2.AsyncClient]:
    app = FastAPI()
    assert MODULE.routes is not None
    api = MODULE.routes(registry).api
    assert api is not None
    app.include_router(api)

    @app.exception_handler(StanchionError)
    async def problem(request: Request, error: StanchionError) -> JSONResponse:
        return JSONResponse(error.problem(), error.status)

    async def door(scope: Any, receive: Any, send: Any) -> None:
        bob = (b"x-user", b"bob") in scope["headers"]
        await app({**scope, CONTEXT: BOB if bob else ADA}, receive, send)

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=door), base_url="http://test") as made:
        made.app = app  # type: ignore[attr-defined]  # for the test of the document
        yield made


async def test_the_list_is_what_openai_clients_read(client: httpx2.AsyncClient, registry: Any) -> None:
    for name in ("a", "b"):
        await registry.register(ADA, draft(name), FILES)
    first = (await client.get("/v1/models", params={"limit": 1})).json()
    assert first["object"] == "list"
    item = first["data"][0]
    assert (item["id"], item["object"], item["owned_by"]) == ("a", "model", "stanchion")
    assert isinstance(item["created"], int)
    assert (item["versions"], item["latest"], item["production"]) == (1, "1.0.0", None)
    rest = (await client.get("/v1/models", params={"after": first["next"]})).json()
    assert ([each["id"] for each in rest["data"]], rest["next"]) == (["b"], None)


async def test_a_model_is_shown_by_name_alias_or_version(client: httpx2.AsyncClient, registry: Any) -> None:
    made = await registry.register(ADA, draft(), FILES)
    for reference in ("churn", "churn@latest", "churn@1.0.0"):
        shown = (await client.get(f"/v1/models/{reference}")).json()
        assert (shown["id"], shown["version"], shown["stage"]) == ("churn", "1.0.0", "dev")
        assert shown["manifest_sha256"] == made.manifest_sha256
        assert shown["lineage"]["data_rows"] == 7043
        assert [file["name"] for file in shown["files"]] == ["bands.json", "model.onnx"]
    assert (await client.get("/v1/models/churn/versions/1.0.0")).json() == shown
    assert (await client.get("/v1/models/churn/versions")).json() == {"data": [shown]}


async def test_a_promotion_waits_for_a_second_person(client: httpx2.AsyncClient, registry: Any) -> None:
    await registry.register(ADA, draft(), FILES)
    url = "/v1/models/churn/promotions"
    assert (await client.post(url, json={"version": "1.0.0", "to": "staging"})).status_code == 200
    body = {"version": "1.0.0", "to": "production", "evidence": "better"}
    asked = await client.post(url, json=body)
    assert (asked.status_code, asked.json()["status"]) == (202, "pending")
    assert (await client.post(url, json=body)).status_code == 403
    done = await client.post(url, json=body, headers={"x-user": "bob"})
    assert (done.status_code, done.json()["decided_by"]) == (200, "bob")
    listed = (await client.get(url)).json()["data"]
    assert [each["to"] for each in listed] == ["production", "staging"]


async def test_a_rollback_gives_the_version_now_in_production(client: httpx2.AsyncClient, bench: Any) -> None:
    registry = bench.registry(development=True)
    for weights in ("w1", "w2"):
        made = await registry.register(ADA, draft(weights=weights), FILES)
        await registry.promote(ADA, "churn", made.version, to="production", evidence="good")
    back = await client.post("/v1/models/churn/rollback", json={"reason": "bad"})
    assert (back.status_code, back.json()["version"], back.json()["stage"]) == (200, "1.0.0", "production")


async def test_an_alias_is_set_and_removed(client: httpx2.AsyncClient, registry: Any) -> None:
    await registry.register(ADA, draft(), FILES)
    put = await client.put("/v1/models/churn/aliases/mine", json={"version": "1.0.0"})
    assert put.json() == {"model": "churn", "alias": "mine", "version": "1.0.0"}
    assert (await client.get("/v1/models/churn@mine")).json()["aliases"] == ["mine"]
    gone = await client.delete("/v1/models/churn/aliases/mine")
    assert (gone.status_code, gone.content) == (204, b"")
    assert (await client.delete("/v1/models/churn/aliases/mine")).status_code == 404
    assert (await client.put("/v1/models/churn/aliases/latest", json={"version": "1.0.0"})).status_code == 422


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/models?limit=0", None, 422),
        ("GET", "/v1/models?limit=101", None, 422),
        ("GET", "/v1/models/none", None, 404),
        ("GET", "/v1/models/a%20b", None, 422),
        ("GET", "/v1/models/none/versions", None, 404),
        ("GET", "/v1/models/none/versions/latest", None, 422),
        ("GET", "/v1/models/none/promotions", None, 200),
        ("POST", "/v1/models/none/promotions", {"version": "1.0.0", "to": "staging"}, 404),
        ("POST", "/v1/models/none/promotions", {"version": "1.0.0", "to": "moon"}, 422),
        ("POST", "/v1/models/none/promotions", {"version": "1.0.0", "to": "dev", "force": True}, 422),
        ("POST", "/v1/models/none/rollback", {"reason": ""}, 422),
        ("POST", "/v1/models/none/rollback", {"reason": "bad"}, 404),
        ("PUT", "/v1/models/none/aliases/mine", {"version": "1.0.0"}, 404),
        ("PUT", "/v1/models/none/aliases/mine", {"version": None}, 422),
        ("PUT", "/v1/models/none/aliases/mine", {"version": "1\u0000"}, 422),
    ],
)
async def test_what_is_wrong_is_refused(
    client: httpx2.AsyncClient, method: str, path: str, body: dict[str, Any] | None, status: int
) -> None:
    assert (await client.request(method, path, json=body)).status_code == status


async def test_the_document_describes_every_answer(client: httpx2.AsyncClient) -> None:
    document = client.app.openapi()  # type: ignore[attr-defined]  # set by the fixture
    json.dumps(document)
    for operations in document["paths"].values():
        for method, operation in operations.items():
            assert operation["description"]
            if method != "delete":
                assert operation["responses"]["200"]["content"]["application/json"]["schema"]
