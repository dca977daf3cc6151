"""Training sets and materialisation over HTTP: the same join in JSON, Arrow and Parquet, and progress as it happens."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

pytest.importorskip("duckdb", reason="the extra `features` is not installed")

import pyarrow
import pyarrow.parquet
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from stanchion.core.errors import Conflict, StanchionError
from stanchion.core.http.routes import CONTEXT
from stanchion.features import Row
from stanchion.features import spines as reading
from stanchion.features.module import MODULE
from stanchion.testing.clock import FakeClock
from stanchion.testing.features import ADA
from stanchion.testing.offline_features import Spending, spine
from tests.contract.test_offline_features import opened

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PATH = "/v1/features/services/cards/historical"
ARROW, PARQUET = reading.MEDIA["arrow"], reading.MEDIA["parquet"]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOON)


@pytest.fixture
async def client(clock: FakeClock, tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    async for features in opened("memory:", "memory:", clock, tmp_path):
        for number in range(3):
            at = clock.now() - timedelta(minutes=90)
            values: Any = {"card": "a", "shop": "s", "at": at.isoformat(), "id": number, "amount": 1.5}
            await features.push(ADA, "spending", [Row("a", values, at)])
            clock.advance(1_800)
        assert MODULE.routes is not None
        routes = MODULE.routes(features)
        app = FastAPI()
        assert routes.api is not None
        app.include_router(routes.api)

        @app.exception_handler(StanchionError)
        async def problem(request: Request, error: StanchionError) -> JSONResponse:
            return JSONResponse(error.problem(), error.status)

        async def door(scope: Any, receive: Any, send: Any, app: FastAPI = app) -> None:
            await app({**scope, CONTEXT: ADA}, receive, send)

        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=door), base_url="http://test") as made:
            made.schemas = routes.schemas  # type: ignore[attr-defined]  # for the test of the document
            made.app = app  # type: ignore[attr-defined]  # for the test of the document
            made.features = features  # type: ignore[attr-defined]  # for the tests of materialisation
            yield made


MOMENTS = [NOON + timedelta(minutes=m) for m in (1, 31, 90, 0)]
KEYS = ["a", "a", "a", "nobody"]
SUMS = [1.5, 3.0, 4.5, None]


async def test_json_rows_are_joined_in_their_order(client: httpx2.AsyncClient) -> None:
    rows = [
        {"card": key, "asked": at.isoformat(), "label": n}
        for n, (key, at) in enumerate(zip(KEYS, MOMENTS, strict=True))
    ]
    answer = await client.post(PATH, json={"time": "asked", "rows": rows})
    assert answer.status_code == 200
    data = answer.json()["data"]
    assert [row["spent_1d"] for row in data] == SUMS
    assert [row["label"] for row in data] == [0, 1, 2, 3]
    assert list(data[0]) == ["card", "asked", "label", *Spending.model_fields]
    assert datetime.fromisoformat(data[0]["asked"]) == MOMENTS[0]
    told = await client.post(PATH, json={"time": "asked", "rows": rows, "as_of": "event", "status": True})
    assert [row["spent_1d"] for row in told.json()["data"]] == [4.5, 4.5, 4.5, None]
    assert [row["status:spending"] for row in told.json()["data"]] == ["present"] * 3 + ["unknown"]


def parquet(content: bytes) -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.ipc.open_stream(content).read_all(), sink)
    return sink.getvalue()


@pytest.mark.parametrize("given", ["arrow", "parquet"])
@pytest.mark.parametrize("answered", ["arrow", "parquet", ""])
async def test_binary_spines_are_answered_in_kind_or_as_accept_says(
    client: httpx2.AsyncClient, given: str, answered: str
) -> None:
    content = spine(MOMENTS, card=KEYS)
    headers = {"content-type": ARROW if given == "arrow" else PARQUET}
    if answered:
        headers["accept"] = ARROW if answered == "arrow" else PARQUET
    sent = content if given == "arrow" else parquet(content)
    answer = await client.post(PATH, params={"time": "asked"}, content=sent, headers=headers)
    assert answer.status_code == 200
    form = answered or given
    assert answer.headers["content-type"] == (ARROW if form == "arrow" else PARQUET)
    if form == "arrow":
        table = pyarrow.ipc.open_stream(answer.content).read_all()
    else:
        table = pyarrow.parquet.read_table(io.BytesIO(answer.content))
    assert table["spent_1d"].to_pylist() == SUMS
    assert table["asked"].to_pylist() == MOMENTS


ROW = {"card": "a", "asked": "2026-03-01T12:00:00Z"}


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"rows": [ROW]}, "$.time"),
        ({"time": "asked", "rows": []}, "$.rows"),
        ({"time": "asked", "rows": [ROW] * 10_001}, "$.rows"),
        ({"time": "asked", "rows": [ROW], "more": 1}, "$.more"),
        ({"time": "asked", "rows": [ROW, {**ROW, "asked": "2026-03-01T12:00:00"}]}, "$.rows[1].asked"),
        ({"time": "asked", "rows": [ROW, {**ROW, "asked": 5}]}, "$.rows[1].asked"),
        ({"time": "asked", "rows": [ROW, {**ROW, "asked": None}]}, "$.rows[1].asked"),
        ({"time": "asked", "rows": [ROW, {"asked": ROW["asked"]}]}, "$.rows[1].card"),
        ({"time": "asked", "rows": [ROW, {**ROW, "card": 5}]}, "$.rows[*].card"),
        ({"time": "asked", "rows": [{**ROW, "amount": 5}]}, "$.rows.amount"),
        ({"time": "when", "rows": [ROW]}, "$.rows.when"),
    ],
)
async def test_what_is_wrong_with_json_rows_is_told_by_its_place(
    client: httpx2.AsyncClient, body: dict[str, Any], path: str
) -> None:
    refused = await client.post(PATH, json=body)
    assert (refused.status_code, refused.json()["errors"][0]["path"]) == (422, path)


async def test_what_is_no_spine_is_refused(client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    content = spine(MOMENTS, card=KEYS)
    asked = {"time": "asked"}
    for params, sent, headers, status in (
        ({}, content, {"content-type": ARROW}, 422),
        (asked, content, {"content-type": "text/csv"}, 400),
        (asked, b"no arrow", {"content-type": ARROW}, 400),
        (asked, b"PAR1", {"content-type": PARQUET}, 400),
        (asked, content, {"content-type": ARROW, "accept": "application/json"}, 400),
        ({}, b"{", {"content-type": "application/json"}, 400),
        ({"time": "asked", "as_of": "then"}, content, {"content-type": ARROW}, 422),
    ):
        refused = await client.post(PATH, params=params, content=sent, headers=headers)
        assert refused.status_code == status, refused.content
    assert (await client.post(PATH.replace("cards", "none"), json={"time": "asked", "rows": [ROW]})).status_code == 404
    monkeypatch.setattr(reading, "_MOST_BYTES", 50)
    headers = {"content-type": PARQUET}
    assert (await client.post(PATH, params=asked, content=parquet(content), headers=headers)).status_code == 413


async def test_a_view_is_materialised_with_a_report_at_the_end(client: httpx2.AsyncClient) -> None:
    body = {"start": "2026-03-01T10:00:00Z", "end": "2026-03-01T14:00:00Z"}
    done = await client.post("/v1/features/spending/materialise", json=body)
    report = done.json()
    assert (done.status_code, report["rows"], report["skipped"]) == (200, 3, 0)
    assert report["job"]
    assert report["partitions"] == 4
    assert (await client.post("/v1/features/spending/materialise")).json()["rows"] == 3


def events(content: str) -> list[tuple[str, Any]]:
    found = [part.split("\n", 1) for part in content.strip().split("\n\n")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in found]


async def test_progress_comes_as_it_happens_and_an_error_is_an_event(client: httpx2.AsyncClient) -> None:
    body = {"start": "2026-03-01T10:00:00Z", "end": "2026-03-01T14:00:00Z"}
    stream = {"accept": "text/event-stream"}
    told = await client.post("/v1/features/spending/materialise", json=body, headers=stream)
    assert told.headers["content-type"].startswith("text/event-stream")
    *parts, (last, report) = events(told.text)
    assert [name for name, _ in parts] == ["partition"] * 4
    assert [event["done"] for _, event in parts] == [1, 2, 3, 4]
    assert (last, report["rows"], report["partitions"]) == ("done", 3, 4)
    nothing = await client.post("/v1/features/profiles/materialise", headers=stream)
    assert events(nothing.text) == [("done", {"job": "", "partitions": 0, "skipped": 0, "rows": 0})]

    features: Any = client.features  # type: ignore[attr-defined]  # set by the fixture
    real = features.materialise

    async def broken(*args: Any, **options: Any) -> AsyncIterator[Any]:
        found = real(*args, **options)
        yield await anext(found)
        await found.aclose()
        raise Conflict("another run has taken over")

    features.materialise = broken
    failed = events((await client.post("/v1/features/spending/materialise", json=body, headers=stream)).text)
    assert [name for name, _ in failed] == ["partition", "error"]
    assert failed[1][1]["code"] == "conflict"


@pytest.mark.parametrize(
    ("view", "body", "status"),
    [
        ("none", {}, 404),
        ("spending", {"start": "2036-01-01T00:00:00Z"}, 422),
        ("spending", {"start": "2026-01-01T00:00:00"}, 422),
        ("spending", {"from": "2026-01-01T00:00:00Z"}, 422),
    ],
)
async def test_a_run_that_cannot_be_is_refused_before_it_begins(
    client: httpx2.AsyncClient, view: str, body: dict[str, Any], status: int
) -> None:
    for accept in ("application/json", "text/event-stream"):
        refused = await client.post(f"/v1/features/{view}/materialise", json=body, headers={"accept": accept})
        assert refused.status_code == status


async def test_the_document_describes_bodies_and_answers(client: httpx2.AsyncClient) -> None:
    document = client.app.openapi()  # type: ignore[attr-defined]  # set by the fixture
    operation = document["paths"]["/v1/features/services/{service}/historical"]["post"]
    for place in (operation["requestBody"], operation["responses"]["200"]):
        assert {"application/json", ARROW, PARQUET} == set(place["content"])
    schemas = client.schemas  # type: ignore[attr-defined]  # set by the fixture
    assert schemas["SpineRequest"]["properties"]["rows"]["maxItems"] == 10_000
    assert "$ref" not in json.dumps(schemas["SpineRequest"])
    answers = document["paths"]["/v1/features/{view}/materialise"]["post"]["responses"]["200"]["content"]
    assert {"application/json", "text/event-stream"} == set(answers)
