"""The declared stages and the feedback of Serving as tests: subclass `StagesSuite` with a door that serves `STAGED`.

The door's system must belong to the tenant `t1`, must keep a journal, and everybody must be permitted all.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from pydantic import BaseModel, Field

from stanchion.core.context import Context, Rights
from stanchion.core.errors import InvalidInput, PayloadTooLarge
from stanchion.serving import Batch, Cache, Keep, Options, PredictOptions, Review, ServedSpec, Serving, Truth


class Offer(BaseModel):
    """What somebody asks for."""

    amount: int = Field(ge=0)


class Answer(BaseModel):
    """How likely it is to be paid back."""

    probability: float


async def score(items: Sequence[Offer]) -> list[Answer]:
    """A tenth of the amount, in percent."""
    return [Answer(probability=min(1.0, item.amount / 1000)) for item in items]


def capped(offer: Offer, answer: Answer) -> Answer | None:
    """Nothing above nine hundred."""
    return Answer(probability=0.0) if offer.amount > 900 else None


def doubtful(offer: Offer, answer: Answer) -> bool:
    """Whether a person should look."""
    return 0.4 < answer.probability < 0.6


STAGED = (
    ServedSpec(
        "staged",
        Offer,
        Answer,
        function=score,
        options=Options(cache=Cache(), batch=Batch(size=4), rules=(capped,), review=Review(doubtful), journal=Keep()),
    ),
    ServedSpec("plain", Offer, Answer, function=score),
)
TIMED = PredictOptions(explain=("timing",), priority="interactive")


def caller(tenant: str = "t1") -> Context:
    """A caller with every right, and a request of its own."""
    return Context(tenant=tenant, principal="ada", rights=Rights(frozenset({"admin"}), frozenset({"*"})))


class StagesSuite:
    """What every implementation of Serving does with a declaration's options."""

    @pytest.fixture
    def serving(self) -> Serving:
        raise NotImplementedError("give the suite a door that serves STAGED")

    async def test_an_answer_is_given_again(self, serving: Serving) -> None:
        answers = [await serving.predict(caller(), "staged", [{"amount": 100}]) for _ in range(2)]
        assert [(each.served_by, each.cache) for each in answers] == [("primary", "miss"), ("cache", "hit")]
        assert answers[0].items == answers[1].items
        cache = (await serving.describe(caller(), "staged")).cache
        assert cache is not None
        assert (cache.hits, cache.misses, cache.rate) == (1, 1, 0.5)
        assert (await serving.describe(caller(), "plain")).cache is None

    async def test_rules_overrule_and_mark(self, serving: Serving) -> None:
        answer = await serving.predict(caller(), "staged", [{"amount": 950}, {"amount": 500}, {"amount": 1}, {}])
        assert [each.values.get("probability") for each in answer.items] == [0.0, 0.5, 0.001, None]
        assert [each.overruled_by for each in answer.items] == ["capped", "", "", ""]
        assert [each.review for each in answer.items] == ["", "required", "", ""]
        assert answer.items[3].error is not None

    async def test_times_are_told_by_stage_if_asked_for(self, serving: Serving) -> None:
        assert set((await serving.predict(caller(), "plain", [{"amount": 1}], options=TIMED)).timings) == {
            "admit",
            "ladder",
        }
        staged = await serving.predict(caller(), "staged", [{"amount": 1}], options=TIMED)
        assert set(staged.timings) == {"admit", "cache", "ladder", "rules"}
        assert not (await serving.predict(caller(), "staged", [{"amount": 1}])).timings

    async def test_what_became_of_a_prediction_is_held_against_its_version(self, serving: Serving) -> None:
        asked = [caller(), caller()]
        for ctx, amount in zip(asked, (800, 200), strict=True):
            await serving.predict(ctx, "staged", [{"amount": amount}])
        good, bad = (ctx.request_id for ctx in asked)
        noted = await serving.feedback(
            caller(), [Truth(good, label=1, outcome=5.0), Truth(bad, label=0), Truth("unknown", label=1)]
        )
        assert [each.status for each in noted] == ["stored", "stored", "refused"]
        assert [each.status for each in await serving.feedback(caller(), [Truth(good, label=True)])] == ["repeated"]
        [version] = (await serving.quality(caller(), "staged")).versions
        assert (version.version, version.labelled, version.accuracy, version.roc_auc) == ("declared", 2, 1.0, 1.0)
        assert version.outcomes["outcome"].mean == 5.0
        assert list((await serving.quality(caller("t2"), "staged")).versions) == []

    async def test_feedback_has_limits(self, serving: Serving) -> None:
        with pytest.raises(InvalidInput):
            await serving.feedback(caller(), [])
        with pytest.raises(PayloadTooLarge):
            await serving.feedback(caller(), [Truth("a", label=1)] * 1_001)
        with pytest.raises(InvalidInput):
            await serving.quality(caller(), "staged", days=0)

    async def test_the_journal_opens_for_its_tenant(self, serving: Serving) -> None:
        ctx = caller()
        await serving.predict(ctx, "staged", [{"amount": 7}, {"amount": 950}])
        entries = await serving.journal(caller(), ctx.request_id)
        assert [(each.instance, each.inputs, each.overruled_by) for each in entries] == [
            (0, {"amount": 7}, ""),
            (1, {"amount": 950}, "capped"),
        ]
        assert list(await serving.journal(caller("t2"), ctx.request_id)) == []
        plain = caller()
        await serving.predict(plain, "plain", [{"amount": 7}])
        assert list(await serving.journal(caller(), plain.request_id)) == []
