"""Rules may overrule the model, and a guard that breaks lets nothing pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from stanchion import System
from stanchion.core.errors import Misconfigured
from stanchion.serving import Cache, Options, Review, ServedSpec


class Payment(BaseModel):
    amount: float = Field(ge=0)
    country: str = "DE"


class Verdict(BaseModel):
    prediction: Literal["pass", "hold"]
    probability: float = Field(ge=0, le=1)


def never_large(payment: Payment, verdict: Verdict) -> Verdict | None:
    return Verdict(prediction="hold", probability=verdict.probability) if payment.amount > 1000 else None


def embargo(payment: Payment, verdict: Verdict) -> Verdict | None:
    if payment.country == "XX":
        raise LookupError("the list could not be read")
    return None


def unsure(payment: Payment, verdict: Verdict) -> bool:
    return 0.4 < verdict.probability < 0.6


def system(**options: Any) -> System:
    app = System("payments")

    @app.model("fraud", rules=[never_large, embargo], review=Review(unsure, "the model is unsure"), **options)
    async def fraud(items: Sequence[Payment]) -> list[Verdict]:
        return [Verdict(prediction="pass", probability=min(1.0, item.amount / 200)) for item in items]

    return app


async def test_a_rule_overrules_and_the_answer_says_so(start: Any) -> None:
    async with start(system()) as run:
        answer = (await run.predict("fraud", {"amount": 5000})).json()
        assert (answer["prediction"], answer["overruled_by"], answer["served_by"]) == ("hold", "never_large", "primary")
        plain = (await run.predict("fraud", {"amount": 10})).json()
        assert plain["prediction"] == "pass"
        assert "overruled_by" not in plain
        assert "review" not in plain


async def test_an_answer_that_a_person_should_look_at_is_marked(start: Any) -> None:
    async with start(system()) as run:
        body = {"model_id": "fraud", "instances": [{"amount": 100}, {"amount": 1}]}
        first, second = (await run.post("/v1/predictions", body)).json()["predictions"]
        assert (first["review"], first["prediction"]) == ("required", "pass")
        assert "review" not in second


async def test_a_rule_that_breaks_refuses_the_answer(start: Any) -> None:
    async with start(system()) as run:
        refused = await run.predict("fraud", {"amount": 10, "country": "XX"})
        assert refused.status_code == 503
        assert "embargo" in refused.json()["detail"]
        body = {"model_id": "fraud", "instances": [{"amount": 1}, {"amount": 10, "country": "XX"}]}
        first, second = (await run.post("/v1/predictions", body)).json()["predictions"]
        assert first["prediction"] == "pass"
        assert second["error"]["code"] == "unavailable"


async def test_a_cached_answer_keeps_its_marks(start: Any) -> None:
    async with start(system(cache=Cache())) as run:
        answers = [(await run.predict("fraud", {"amount": 5000})).json() for _ in range(2)]
        assert [each["overruled_by"] for each in answers] == ["never_large"] * 2
        assert [each["served_by"] for each in answers] == ["primary", "cache"]


async def test_rules_follow_the_graph_of_a_registered_version_too(bench: Any, ctx: Any, customer: Any) -> None:
    await bench.register("a", 0.7)

    def only_low(instance: Any, outcome: Any) -> Any:
        return outcome.model_copy(update={"prediction": "low"}) if instance.months >= 12 else None

    service = bench.serving(bench.spec(options=Options(rules=[only_low])))
    await service.start()
    answer = await service.predict(ctx, "churn", [customer])
    assert answer.items[0].values == {"prediction": "low", "probability": 0.7}
    assert answer.items[0].overruled_by == "only_low"
    await service.stop()


@pytest.mark.parametrize("name", ["arm", "review", "overruled_by", "timing_ms"])
def test_an_output_field_may_not_be_called_as_a_mark_is(name: str, bench: Any) -> None:
    fields: Any = {name: (str, ...)}
    from pydantic import create_model

    with pytest.raises(Misconfigured, match=name):
        bench.serving(ServedSpec("m", Payment, create_model("Strange", **fields)))
