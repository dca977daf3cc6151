"""What was predicted is kept sealed, and what became of it is held against the version that predicted it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from stanchion import System
from stanchion.core.errors import NotAllowed
from stanchion.core.security.contract import Audit
from stanchion.serving import Cache, Keep, Truth
from stanchion.serving.journal.quality import roc_auc_of
from stanchion.serving.journal.tables import predictions
from stanchion.testing.clock import FakeClock
from stanchion.training import identifier


class Lead(BaseModel):
    customer: Annotated[str, identifier]
    score: float = Field(ge=0, le=1)
    note: str = ""


class Chance(BaseModel):
    prediction: str
    probability: float


class Odd(BaseModel):
    number: int
    text: str


def system(**options: Any) -> System:
    app = System("leads")

    @app.model("chance", **options)
    async def chance(items: Sequence[Lead]) -> list[Chance]:
        return [Chance(prediction="yes" if item.score >= 0.5 else "no", probability=item.score) for item in items]

    return app


KEPT = Keep(omit=["note"])


async def asked(run: Any, score: float, **more: Any) -> str:
    answer = await run.predict("chance", {"customer": "Ada Lovelace", "score": score, **more})
    return str(answer.json()["request_id"])


async def test_a_prediction_is_kept_without_what_shall_not_be_kept(start: Any) -> None:
    async with start(system(journal=KEPT)) as run:
        request_id = await asked(run, 0.75, note="call after six")
        [entry] = (await run.client.get(f"/v1/serving/journal/{request_id}")).json()["data"]
        assert (entry["model"], entry["version"], entry["rung"], entry["arm"]) == ("chance", "declared", "primary", "")
        assert entry["output"] == {"prediction": "yes", "probability": 0.75}
        assert set(entry["inputs"]) == {"customer", "score"}
        assert entry["inputs"]["customer"].startswith("id:")
        second = await asked(run, 0.25)
        [other] = (await run.client.get(f"/v1/serving/journal/{second}")).json()["data"]
        assert other["inputs"]["customer"] == entry["inputs"]["customer"]


async def test_what_lies_in_the_store_is_sealed_and_opens_for_its_tenant_alone(start: Any) -> None:
    async with start(system(journal=Keep())) as run:
        request_id = await asked(run, 0.75, note="call after six")
        assert len(await run.serving.journal(run.ctx, request_id)) == 1
        database = run.offline.house.foundation.stores.state
        [row] = await database.read(lambda connection: connection.execute(predictions.select()).all())
        assert b"after six" not in row.blob
        assert "Ada" not in repr(row)
        stranger = run.offline.caller("admin", tenant="rival")
        assert await run.serving.journal(stranger, request_id) == []
        for role in ("viewer", "operator", "auditor", "developer", "predictor"):
            with pytest.raises(NotAllowed):
                await run.serving.journal(run.offline.caller(role), request_id)


async def test_a_model_that_declares_no_journal_keeps_nothing(start: Any) -> None:
    async with start(system()) as run:
        request_id = await asked(run, 0.75)
        assert await run.serving.journal(run.ctx, request_id) == []


async def test_a_share_keeps_whole_calls(start: Any) -> None:
    async with start(system(journal=Keep(share=0.5))) as run:
        kept = []
        for _ in range(60):
            ctx = run.ctx
            await run.serving.predict(ctx, "chance", [{"customer": "a", "score": 0.5}] * 3)
            kept.append(len(await run.serving.journal(ctx, ctx.request_id)))
        assert set(kept) == {0, 3}
        assert 10 < kept.count(3) < 50


async def test_feedback_finds_its_predictions_and_says_what_it_did_with_each(start: Any) -> None:
    async with start(system(journal=Keep())) as run:
        request_id = await asked(run, 0.75)
        items = [
            {"request_id": request_id, "label": 1, "outcome": 12.5},
            {"request_id": "0" * 24, "label": 1},
            {"request_id": request_id},
            {"request_id": request_id, "instance": 7, "label": 0},
            {"request_id": request_id, "outcome": 2.0, "metric": "complaints"},
        ]
        results = (await run.post("/v1/feedback", {"items": items})).json()["results"]
        assert [each["status"] for each in results] == ["stored", "refused", "refused", "refused", "stored"]
        assert (results[0]["model"], results[0]["version"]) == ("chance", "declared")
        assert [each["error"]["code"] for each in results[1:4]] == ["not_found", "invalid_input", "not_found"]
        again = (await run.post("/v1/feedback", {"items": items[:1]})).json()["results"]
        assert again[0]["status"] == "repeated"
        changed = (await run.post("/v1/feedback", {"items": [{**items[0], "label": 0}]})).json()["results"]
        assert changed[0]["status"] == "corrected"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "$.items"),
        ({"items": [{"label": 1}]}, "$.items[0].request_id"),
        ({"items": [{"request_id": "a", "label": [1]}]}, "$.items[0].label"),
        ({"items": [{"request_id": "a", "outcome": "much"}]}, "$.items[0].outcome"),
        ({"items": [{"request_id": "a", "label": 1, "more": 1}]}, "$.items[0].more"),
        ({"items": []}, "$.items"),
    ],
)
async def test_faulty_feedback_is_refused_with_its_place(start: Any, body: Any, path: str) -> None:
    async with start(system(journal=Keep())) as run:
        answer = await run.post("/v1/feedback", body)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["path"].startswith(path)


@pytest.mark.parametrize(
    "wrong",
    [{"request_id": "a\0b", "label": 1}, {"label": "x\0"}, {"outcome": 1.0, "metric": ""}, {"label": "y" * 201}],
)
async def test_text_that_no_store_holds_is_refused_alone(start: Any, wrong: Any) -> None:
    async with start(system(journal=Keep())) as run:
        request_id = await asked(run, 0.75)
        body = {"items": [{"request_id": request_id, **wrong}, {"request_id": request_id, "label": 1}]}
        first, second = (await run.post("/v1/feedback", body)).json()["results"]
        assert (first["status"], first["error"]["code"], second["status"]) == ("refused", "invalid_input", "stored")


async def test_a_number_beyond_all_bounds_is_kept_and_cached(start: Any) -> None:
    app = System("odd")

    @app.model("odd", cache=Cache(), journal=Keep())
    async def odd(items: Sequence[Odd]) -> list[Chance]:
        return [Chance(prediction="a\0b" * 200, probability=1e300) for _ in items]

    async with start(app) as run:
        given = {"number": 10**40, "text": "\x7f"}
        ctx = run.ctx
        rungs = [(await run.serving.predict(ctx, "odd", [given])).served_by for _ in range(2)]
        assert rungs == ["primary", "cache"]
        entries = await run.serving.journal(ctx, ctx.request_id)
        assert [each.inputs for each in entries] == [given, given]


async def test_too_many_truths_at_once_are_refused(start: Any) -> None:
    async with start(system(journal=Keep())) as run:
        answer = await run.post("/v1/feedback", {"items": [{"request_id": "a", "label": 1}] * 1001})
        assert answer.status_code == 413


async def test_quality_is_that_of_what_came_back(start: Any) -> None:
    async with start(system(journal=Keep())) as run:
        truths = [(0.9, 1), (0.8, 1), (0.7, 0), (0.3, 1), (0.2, 0), (0.1, 0)]
        for score, label in truths:
            request_id = await asked(run, score)
            await run.serving.feedback(run.ctx, [Truth(request_id, label=label, outcome=10.0 * label)])
        await asked(run, 0.5)
        answer = (await run.client.get("/v1/serving/models/chance/quality?days=7")).json()
        [version] = answer["versions"]
        assert (version["version"], version["predictions"], version["labelled"]) == ("declared", 7, 6)
        assert version["accuracy"] == pytest.approx(4 / 6)
        assert version["roc_auc"] == pytest.approx(8 / 9)
        assert version["brier"] == pytest.approx(sum((score - label) ** 2 for score, label in truths) / 6)
        assert sum(each["count"] for each in version["calibration"]) == 6
        assert version["outcomes"]["outcome"] == {"count": 6, "mean": 5.0}


async def test_classes_are_compared_by_name(start: Any) -> None:
    async with start(system(journal=Keep())) as run:
        for score, label in ((0.9, "yes"), (0.1, "yes"), (0.2, "no")):
            await run.serving.feedback(run.ctx, [Truth(await asked(run, score), label=label)])
        [version] = (await run.serving.quality(run.ctx, "chance")).versions
        assert version.accuracy == pytest.approx(2 / 3)
        assert (version.roc_auc, version.brier, version.calibration) == (None, None, ())


async def test_another_tenant_sees_no_quality_and_cannot_feed_back(start: Any) -> None:
    async with start(system(journal=Keep())) as run:
        request_id = await asked(run, 0.75)
        stranger = run.offline.caller("admin", tenant="rival")
        [noted] = await run.serving.feedback(stranger, [Truth(request_id, label=1)])
        assert noted.status == "refused"
        assert list((await run.serving.quality(stranger, "chance")).versions) == []


async def test_feedback_is_in_the_audit_log(start: Any) -> None:
    async with start(system(journal=Keep())) as run:
        await run.serving.feedback(run.ctx, [Truth(await asked(run, 0.75), label=1), Truth("0" * 24, label=1)])
        [event] = await run.offline.door(Audit).events(run.ctx, action="serving:feedback")
        assert (event.outcome, event.kind) == ("done", "write")
        assert (event.facts["stored"], event.facts["refused"]) == (1, 1)


async def test_old_predictions_go(start: Any) -> None:
    clock = FakeClock()
    async with start(system(journal=Keep()), clock=clock) as run:
        ctx = run.ctx
        await run.serving.predict(ctx, "chance", [{"customer": "a", "score": 0.5}])
        journal = run.offline.house._services["serving"]._journal.journal
        await journal.flush()
        clock.advance(60)
        assert await journal.prune(clock.now() - timedelta(days=1)) == 0
        assert await journal.prune(clock.now() - timedelta(seconds=30)) == 1
        assert await run.serving.journal(ctx, ctx.request_id) == []


async def test_what_waits_is_stored_when_the_process_ends(start: Any) -> None:
    async with start(system(journal=Keep())) as run:
        for _ in range(50):
            await run.serving.predict(run.ctx, "chance", [{"customer": "a", "score": 0.5}])
        service = run.offline.house._services["serving"]
        await service._journal.journal.stop()
        database = run.offline.house.foundation.stores.state
        rows = await database.read(lambda connection: connection.execute(predictions.select()).all())
        assert len(rows) == 50
        await service._journal.journal.start()


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_the_area_under_the_curve_is_the_share_of_pairs_in_order(pairs: list[tuple[int, bool]]) -> None:
    scores = numpy.array([score / 5 for score, _ in pairs])
    truth = numpy.array([float(label) for _, label in pairs])
    positives = [score for score, label in pairs if label]
    negatives = [score for score, label in pairs if not label]
    found = roc_auc_of(scores, truth)
    if not positives or not negatives:
        assert found is None
    else:
        won = sum((p > n) + 0.5 * (p == n) for p in positives for n in negatives)
        assert found == pytest.approx(won / (len(positives) * len(negatives)))
