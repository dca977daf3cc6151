"""Predictions over HTTP: the documented shapes, the ledger row, and errors with their places."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stanchion.core.errors import MalformedRequest, StanchionError
from stanchion.core.http.routes import CONTEXT, ROW, json_response
from stanchion.core.telemetry.contract import LedgerRow
from stanchion.serving.module import MODULE


class Front:
    """What the door in front does: it puts the caller and the ledger row there."""

    def __init__(self, app: Any, ctx: Any, rows: list[LedgerRow]) -> None:
        self._app, self._ctx, self._rows = app, ctx, rows

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        row = LedgerRow(datetime.now(UTC), self._ctx.request_id, self._ctx.trace.trace_id, "t1", "ada", scope["path"])
        self._rows.append(row)
        scope[CONTEXT], scope[ROW] = self._ctx, row
        await self._app(scope, receive, send)


async def problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, StanchionError)
    return json_response(error.problem(), error.status)


@pytest.fixture
def rows() -> list[LedgerRow]:
    return []


@pytest.fixture
async def client(bench: Any, ctx: Any, rows: list[LedgerRow]) -> AsyncIterator[httpx2.AsyncClient]:
    await bench.register("a", 0.7)
    service = bench.serving()
    await service.start()
    assert MODULE.routes is not None
    routes = MODULE.routes(service)
    app = FastAPI()
    app.add_exception_handler(StanchionError, problem)
    app.include_router(routes.api)
    app.router.routes.extend(routes.hot)
    transport = httpx2.ASGITransport(app=Front(app, ctx, rows))
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client
    await service.stop()


async def post(client: httpx2.AsyncClient, body: Any) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await client.post("/v1/predictions", content=content)


async def test_one_instance_is_answered_flat(
    client: httpx2.AsyncClient, rows: list[LedgerRow], ctx: Any, customer: Any
) -> None:
    response = await post(client, {"model_id": "churn", "features": customer})
    answer = response.json()
    assert response.status_code == 200
    assert answer.pop("latency_ms") > 0
    assert answer == {
        "request_id": ctx.request_id,
        "trace_id": ctx.trace.trace_id,
        "model_id": "churn",
        "model_version": "1.0.0",
        "served_by": "primary",
        "prediction": "high",
        "probability": 0.7,
    }
    assert (rows[0].subject, rows[0].version, rows[0].rung, rows[0].items) == ("churn", "1.0.0", "primary", 1)


async def test_several_instances_are_answered_in_order(
    client: httpx2.AsyncClient, rows: list[LedgerRow], customer: Any
) -> None:
    answer = (await post(client, {"model_id": "churn@1.0.0", "instances": [customer, {}, customer]})).json()
    assert [each.get("prediction") for each in answer["predictions"]] == ["high", None, "high"]
    paths = {each["path"] for each in answer["predictions"][1]["error"]["errors"]}
    assert paths == {"$.instances[1].customer_id", "$.instances[1].months", "$.instances[1].charges"}
    assert "prediction" not in answer
    assert rows[0].items == 3


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"features": {}}, "$"),
        ({"model_id": "churn"}, "$.features"),
        ({"model_id": "churn", "features": {}, "instances": []}, "$.instances"),
        ({"model_id": "churn", "features": {}, "more": 1}, "$"),
        ({"model_id": 1, "features": {}}, "$.model_id"),
        ({"model_id": "a b", "features": {}}, "$.model_id"),
        ({"model_id": "churn@", "instances": [{}]}, "$.model_id"),
        ({"model_id": "churn", "features": []}, "$.features"),
        ({"model_id": "churn", "features": None}, "$.features"),
        ({"model_id": "churn", "instances": []}, "$.instances"),
        ({"model_id": "churn", "instances": [3]}, "$.instances[0]"),
        ({"model_id": "churn", "instances": [{"customer_id": "1", "months": 1}]}, "$.instances[0].charges"),
        ({"model_id": "churn", "features": {"customer_id": "1", "months": 1}}, "$.features.charges"),
        ([], "$"),
        (3, "$"),
    ],
)
async def test_a_body_of_another_shape_is_refused_with_its_place(
    body: Any, path: str, client: httpx2.AsyncClient
) -> None:
    response = await post(client, body)
    assert response.status_code == 422
    assert response.json()["errors"][0]["path"] == path


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"model_id": "a\\ud800"}', b"{} {}"])
async def test_what_is_not_json_is_malformed(body: bytes, client: httpx2.AsyncClient) -> None:
    response = await post(client, body)
    assert response.status_code in (MalformedRequest.status, 422)


async def test_an_unknown_model_is_not_found(client: httpx2.AsyncClient, rows: list[LedgerRow], customer: Any) -> None:
    assert (await post(client, {"model_id": "nowhere", "features": customer})).status_code == 404
    assert rows[0].subject == "nowhere"


async def test_served_models_are_listed_with_their_rungs(client: httpx2.AsyncClient) -> None:
    [served] = (await client.get("/v1/serving/models")).json()["data"]
    assert (served["model"], served["version"], served["fault"]) == ("churn", "1.0.0", None)
    assert [each["name"] for each in served["rungs"]] == ["primary", "simple", "rule", "default"]
    one = (await client.get("/v1/serving/models/churn@1.0.0")).json()
    assert one == served
    assert (await client.get("/v1/serving/models/nowhere")).status_code == 404


def test_the_hot_route_is_documented_with_an_example_and_every_problem(bench: Any) -> None:
    assert MODULE.routes is not None
    routes = MODULE.routes(bench.serving())
    assert {route.path for route in routes.hot if isinstance(route, Route)} <= set(routes.paths)
    operation = routes.paths["/v1/predictions"]["post"]
    assert operation["requestBody"]["content"]["application/json"]["example"]["features"]["tenure_months"] == 24
    problems = {"400", "401", "403", "404", "413", "422", "429", "503", "504"}
    assert set(operation["responses"]) == {"200", *problems}
    assert all("application/problem+json" in operation["responses"][each]["content"] for each in problems)
