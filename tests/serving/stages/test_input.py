"""Faulty input over HTTP: the place of each fault, and clear limits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from stanchion import System
from stanchion.serving import PredictOptions
from stanchion.serving.predicting import MOST


class Part(BaseModel):
    grams: float


class Parcel(BaseModel):
    weight: float = Field(ge=0, le=100)
    pieces: int = Field(ge=1)
    kind: Literal["letter", "box"] = "box"
    size: list[float] = Field(default=[1.0, 1.0, 1.0], min_length=3, max_length=3)
    parts: list[Part] = []


class Cost(BaseModel):
    cost: float


@pytest.fixture
def app() -> System:
    app = System("parcels")

    @app.model("cost")
    async def cost(items: Sequence[Parcel]) -> list[Cost]:
        return [Cost(cost=item.weight * item.pieces) for item in items]

    return app


GOOD = {"weight": 1.5, "pieces": 2}


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"weight": "1.5"}, "$.features.weight"),
        ({"weight": None}, "$.features.weight"),
        ({"weight": True}, "$.features.weight"),
        ({"weight": 1e39}, "$.features.weight"),
        ({"weight": -1}, "$.features.weight"),
        ({"weight": [1.5]}, "$.features.weight"),
        ({"pieces": 1.5}, "$.features.pieces"),
        ({"pieces": 0}, "$.features.pieces"),
        ({"kind": "crate"}, "$.features.kind"),
        ({"size": [1.0, 2.0]}, "$.features.size"),
        ({"size": [1.0, 2.0, "3"]}, "$.features.size[2]"),
        ({"parts": [{"grams": 1}, {"grams": "x"}]}, "$.features.parts[1].grams"),
        ({"wieght": 2.0}, "$.features.wieght"),
    ],
)
async def test_a_faulty_field_is_named(start: Any, app: System, change: dict[str, Any], path: str) -> None:
    async with start(app) as run:
        answer = await run.predict("cost", {**GOOD, **change})
        assert answer.status_code == 422
        assert path in [each["path"] for each in answer.json()["errors"]]
        several = await run.post("/v1/predictions", {"model_id": "cost", "instances": [GOOD, {**GOOD, **change}]})
        good, bad = several.json()["predictions"]
        assert good == {"cost": 3.0}
        assert path.replace("$.features", "$.instances[1]") in [each["path"] for each in bad["error"]["errors"]]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
async def test_what_is_no_number_is_refused(start: Any, app: System, number: str) -> None:
    async with start(app) as run:
        body = f'{{"model_id": "cost", "features": {{"weight": {number}, "pieces": 1}}}}'.encode()
        answer = await run.post("/v1/predictions", body)
        assert answer.status_code == 400
        assert answer.json()["code"] == "malformed_request"


async def test_nan_from_inside_the_process_is_refused_with_its_place(start: Any, app: System) -> None:
    async with start(app) as run:
        from stanchion.core.errors import InvalidInput

        with pytest.raises(InvalidInput) as caught:
            await run.serving.predict(run.ctx, "cost", [{"weight": float("nan"), "pieces": 1}])
        assert [each.path for each in caught.value.fields] == ["$.features.weight"]


async def test_ten_thousand_instances_are_answered_and_one_more_is_not(start: Any, app: System) -> None:
    async with start(app) as run:
        answer = await run.post("/v1/predictions", {"model_id": "cost", "instances": [GOOD] * MOST})
        assert len(answer.json()["predictions"]) == MOST
        refused = await run.post("/v1/predictions", {"model_id": "cost", "instances": [GOOD] * (MOST + 1)})
        assert refused.status_code == 413
        assert "10000" in refused.json()["detail"]


async def test_a_body_of_ten_megabytes_is_refused(start: Any, app: System) -> None:
    async with start(app) as run:
        body = json.dumps({"model_id": "cost", "features": GOOD, "filler": "x" * (10 << 20)}).encode()
        refused = await run.post("/v1/predictions", body)
        assert refused.status_code == 413
        assert refused.json()["code"] == "payload_too_large"


async def test_the_times_of_the_stages_stand_in_the_answer_and_in_the_ledger(start: Any, app: System) -> None:
    async with start(app) as run:
        answer = (await run.predict("cost", GOOD, explain="timing")).json()
        assert set(answer["timing_ms"]) == {"admit", "ladder"}
        assert all(0 <= each < 1000 for each in answer["timing_ms"].values())
        assert "timing_ms" not in (await run.predict("cost", GOOD)).json()
        ledger = run.offline.house.foundation.ledger
        await ledger.flush()
        from stanchion.core.telemetry.contract import Observatory

        rows = await run.offline.door(Observatory).requests(run.ctx, subject="cost")
        assert len(rows) == 2
        assert all(set(json.loads(row.stages)) == {"admit", "ladder"} for row in rows)


async def test_nobody_asks_for_what_is_not_offered(start: Any, app: System) -> None:
    async with start(app) as run:
        refused = await run.predict("cost", GOOD, explain="weights")
        assert refused.status_code == 422
        refused = await run.predict("cost", GOOD, options={"priority": "now"})
        assert refused.json()["errors"][0]["path"] == "$.options.priority"
        answer = await run.serving.predict(run.ctx, "cost", [GOOD], options=PredictOptions(explain=("timing",)))
        assert answer.timings
        assert not (await run.serving.predict(run.ctx, "cost", [GOOD])).timings
