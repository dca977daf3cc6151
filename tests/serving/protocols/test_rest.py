"""The Open Inference Protocol over HTTP: paths, versions, repository, ledger rows, errors with their places."""

from __future__ import annotations

import struct
import time
from typing import Any

import httpx2
import pytest

from stanchion.core.telemetry.contract import LedgerRow

INPUTS = [
    {"name": "customer_id", "shape": [2, 1], "datatype": "BYTES", "data": ["1", "2"]},
    {"name": "months", "shape": [2, 1], "datatype": "INT64", "data": [[12], [30]]},
    {"name": "charges", "shape": [2, 1], "datatype": "FP64", "data": [89.99, 20]},
]


async def infer(client: httpx2.AsyncClient, model: str = "churn", **more: Any) -> Any:
    return await client.post(f"/v2/models/{model}/infer", json={"inputs": INPUTS, **more})


async def test_tensors_are_answered_with_tensors(client: httpx2.AsyncClient, rows: list[LedgerRow]) -> None:
    answer = (await infer(client, id="7")).json()
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("churn", "1.0.0", "7")
    assert answer["parameters"] == {"served_by": "primary"}
    assert {each["name"]: each["data"] for each in answer["outputs"]} == {
        "prediction": ["high", "high"],
        "probability": [0.7, 0.7],
    }
    assert (rows[0].subject, rows[0].version, rows[0].rung, rows[0].items) == ("churn", "1.0.0", "primary", 2)


async def test_outputs_come_as_asked_in_order_and_as_bytes(client: httpx2.AsyncClient) -> None:
    wanted = [{"name": "probability", "parameters": {"binary_data": True}}]
    response = await infer(client, outputs=wanted)
    size = int(response.headers["inference-header-content-length"])
    assert response.headers["content-type"] == "application/octet-stream"
    assert struct.unpack("<2d", response.content[size:]) == (0.7, 0.7)


async def test_a_version_may_stand_in_the_path(client: httpx2.AsyncClient) -> None:
    assert (await infer(client, "churn/versions/1.0.0")).json()["model_version"] == "1.0.0"
    assert (await infer(client, "churn@1.0.0")).json()["model_version"] == "1.0.0"
    assert (await infer(client, "churn/versions/9.9.9")).status_code == 404
    assert (await infer(client, "churn@1.0.0/versions/1.0.0")).status_code == 422


@pytest.mark.parametrize(
    ("inputs", "path"),
    [
        (INPUTS[:2], "$.inputs"),
        ([*INPUTS, {"name": "other", "shape": [2, 1], "datatype": "FP32", "data": [1, 2]}], "$.inputs[3]"),
        ([*INPUTS[:2], {**INPUTS[2], "datatype": "BOOL", "data": [True, False]}], "$.inputs[2].datatype"),
        ([*INPUTS[:2], {**INPUTS[2], "shape": [3, 1], "data": [1, 2, 3]}], "$.inputs[2].shape"),
        ([*INPUTS[:2], {**INPUTS[2], "data": [1, 2, 3]}], "$.inputs[2].data"),
        ([*INPUTS[:2], {**INPUTS[2], "data": [1, -2]}], "$.inputs[2].data[1]"),
    ],
)
async def test_a_tensor_that_does_not_fit_the_model_is_named(
    inputs: Any, path: str, client: httpx2.AsyncClient, rows: list[LedgerRow]
) -> None:
    response = await client.post("/v2/models/churn/infer", json={"inputs": inputs})
    assert response.status_code == 422, response.text
    assert any(each["path"].startswith(path) for each in response.json()["errors"])
    assert rows[0].subject == "churn"


async def test_a_time_limit_of_the_request_is_the_callers_deadline(
    client: httpx2.AsyncClient, serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    plain = serving.infer

    async def infer_seen(ctx: Any, model: str, request: Any) -> Any:
        seen.append(ctx.deadline)
        return await plain(ctx, model, request)

    monkeypatch.setattr(serving, "infer", infer_seen)
    before = time.monotonic()
    for parameters in ({"timeout": 2_000_000}, {}):
        assert (await infer(client, parameters=parameters)).status_code == 200
    assert before + 2 <= seen[0] <= time.monotonic() + 2
    assert seen[1] is None


async def test_a_body_may_repeat_the_name_of_the_model_and_name_no_other(client: httpx2.AsyncClient) -> None:
    assert (await infer(client, model_name="churn")).status_code == 200
    refused = await infer(client, model_name="other")
    assert (refused.status_code, refused.json()["errors"][0]["path"]) == (422, "$.model_name")


async def test_metadata_tells_inputs_and_outputs(client: httpx2.AsyncClient) -> None:
    found = (await client.get("/v2/models/churn")).json()
    assert (found["name"], found["versions"]) == ("churn", ["1.0.0"])
    assert {"name": "months", "datatype": "INT64", "shape": [-1, 1]} in found["inputs"]
    assert found == (await client.get("/v2/models/churn/versions/1.0.0")).json()
    assert (await client.get("/v2/models/none")).status_code == 404


async def test_models_come_and_go(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/v2/models/churn/ready")).json() == {"name": "churn", "ready": True}
    assert (await client.post("/v2/repository/models/churn/unload")).json()["state"] == "UNAVAILABLE"
    answer = await client.get("/v2/models/churn/ready")
    assert (answer.status_code, answer.json()) == (400, {"name": "churn", "ready": False})
    assert (await client.post("/v2/repository/index", json={"ready": True})).json() == []
    assert [each["state"] for each in (await client.post("/v2/repository/index")).json()] == ["UNAVAILABLE"]
    assert (await client.post("/v2/repository/models/churn/load", json={})).json()["state"] == "READY"
    assert (await infer(client)).status_code == 200


async def test_no_model_is_taken_in_by_the_load_request(client: httpx2.AsyncClient) -> None:
    response = await client.post("/v2/repository/models/churn/load", json={"parameters": {"config": "{}"}})
    assert (response.status_code, response.json()["errors"][0]["path"]) == (422, "$.parameters.config")


async def test_the_server_tells_its_extensions(client: httpx2.AsyncClient) -> None:
    found = (await client.get("/v2")).json()
    assert (found["name"], found["extensions"]) == ("stanchion", ["model_repository", "binary_tensor_data"])


async def test_a_compressed_body_is_refused(client: httpx2.AsyncClient) -> None:
    response = await client.post("/v2/models/churn/infer", content=b"x", headers={"Content-Encoding": "gzip"})
    assert response.status_code == 422


async def test_a_model_may_be_named_in_the_path_of_a_prediction(client: httpx2.AsyncClient, customer: Any) -> None:
    answer = (await client.post("/v1/models/churn/predict", json={"features": customer})).json()
    assert (answer["model_id"], answer["probability"]) == ("churn", 0.7)
    refused = await client.post("/v1/models/churn/predict", json={"features": {}, "explain": "timing"})
    assert {each["path"] for each in refused.json()["errors"]} >= {"$.features.months"}
    assert (await client.post("/v1/models/churn/predict", json={"instances": []})).status_code == 422
