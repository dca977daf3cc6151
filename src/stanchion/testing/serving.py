"""The contract of Serving as tests: subclass `ServingSuite` and give it a door that serves `SPECS`.

The door's system must belong to the tenant `t1`, no model may be registered, and everybody must be permitted all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from pydantic import BaseModel, Field

from stanchion.core.context import Context, Rights
from stanchion.core.errors import InvalidInput, NotFound, PayloadTooLarge, Unavailable
from stanchion.serving import ServedSpec, Serving


class Pair(BaseModel):
    """Two numbers to add."""

    left: int = Field(ge=0, le=1000)
    right: float = 1.0


class Total(BaseModel):
    """Their sum."""

    total: float


async def add(items: Sequence[Pair]) -> list[Total]:
    """Adds; breaks on 13."""
    if any(item.left == 13 for item in items):
        raise RuntimeError("thirteen")
    return [Total(total=item.left + item.right) for item in items]


def small(pair: Pair) -> Total | None:
    """Answers for numbers below 100."""
    return Total(total=-1) if pair.left < 100 else None


SPECS = (
    ServedSpec("add", Pair, Total, function=add, rule=small),
    ServedSpec("bare", Pair, Total),
    ServedSpec("ruled", Pair, Total, rule=small, default=Total(total=-2)),
)


def caller(tenant: str = "t1") -> Context:
    """A caller with every right."""
    return Context(tenant=tenant, principal="ada", rights=Rights(frozenset({"admin"}), frozenset({"*"})))


class ServingSuite:
    """What every implementation of Serving does."""

    @pytest.fixture
    def serving(self) -> Serving:
        raise NotImplementedError("give the suite a door that serves SPECS")

    @pytest.mark.parametrize(
        ("model", "instance", "rung", "total"),
        [
            ("add", {"left": 2, "right": 3.5}, "primary", 5.5),
            ("add", {"left": 2}, "primary", 3.0),
            ("add", {"left": 13}, "rule", -1.0),
            ("ruled", {"left": 1}, "rule", -1.0),
            ("ruled", {"left": 500}, "default", -2.0),
        ],
    )
    async def test_the_first_rung_that_can_answers(
        self, serving: Serving, model: str, instance: Mapping[str, Any], rung: str, total: float
    ) -> None:
        answer = await serving.predict(caller(), model, [instance])
        assert (answer.model, answer.served_by) == (model, rung)
        assert [dict(each.values) for each in answer.items] == [{"total": total}]
        assert "primary" not in answer.tried or rung == "rule"

    @pytest.mark.parametrize(
        ("instance", "path"),
        [
            ({}, "$.features.left"),
            ({"left": -1}, "$.features.left"),
            ({"left": "1"}, "$.features.left"),
            ({"left": True}, "$.features.left"),
            ({"left": None}, "$.features.left"),
            ({"left": 1, "right": [2]}, "$.features.right"),
            ({"left": 1, "more": 2}, "$.features.more"),
        ],
    )
    async def test_the_only_instance_is_refused_with_the_place_of_its_fault(
        self, serving: Serving, instance: Mapping[str, Any], path: str
    ) -> None:
        for model in ("add", "ruled"):
            with pytest.raises(InvalidInput) as caught:
                await serving.predict(caller(), model, [instance])
            assert [each.path for each in caught.value.fields] == [path]

    async def test_answers_stand_in_the_order_of_the_instances(self, serving: Serving) -> None:
        answer = await serving.predict(caller(), "add", [{"left": 1}, {"left": -1}, {"left": 3}, {}])
        assert [each.values.get("total") for each in answer.items] == [2.0, None, 4.0, None]
        assert [each.error is not None for each in answer.items] == [False, True, False, True]

    async def test_the_number_of_instances_has_limits(self, serving: Serving) -> None:
        with pytest.raises(InvalidInput):
            await serving.predict(caller(), "add", [])
        with pytest.raises(PayloadTooLarge):
            await serving.predict(caller(), "add", [{"left": 1}] * 10_001)

    async def test_a_model_that_nothing_can_answer_for_is_unavailable(self, serving: Serving) -> None:
        with pytest.raises(Unavailable):
            await serving.predict(caller(), "bare", [{"left": 1}])
        with pytest.raises(Unavailable):
            await serving.predict(caller(), "add", [{"left": 13}, {"left": 500}])

    @pytest.mark.parametrize("model", ["nowhere", "add2", "nowhere@1.0.0"])
    async def test_an_unknown_model_is_not_found(self, serving: Serving, model: str) -> None:
        with pytest.raises(NotFound):
            await serving.predict(caller(), model, [{"left": 1}])
        with pytest.raises(NotFound):
            await serving.describe(caller(), model)

    async def test_another_tenant_finds_nothing_of_it(self, serving: Serving) -> None:
        assert list(await serving.models(caller("t2"))) == []
        for model in ("add", "ruled"):
            with pytest.raises(NotFound):
                await serving.predict(caller("t2"), model, [{"left": 1}])
            with pytest.raises(NotFound):
                await serving.describe(caller("t2"), model)

    async def test_served_models_are_listed_by_name_with_their_rungs(self, serving: Serving) -> None:
        listed = await serving.models(caller())
        assert [each.model for each in listed] == ["add", "bare", "ruled"]
        assert [[rung.name for rung in each.rungs] for each in listed] == [["primary", "rule"], [], ["rule", "default"]]
        assert [each.version for each in listed] == ["declared", None, None]
        for each in listed:
            assert (await serving.describe(caller(), each.model)).model == each.model
            assert each.fault is None

    async def test_what_a_rung_did_is_counted(self, serving: Serving) -> None:
        before = (await serving.describe(caller(), "add")).rungs
        await serving.predict(caller(), "add", [{"left": 1}])
        await serving.predict(caller(), "add", [{"left": 13}])
        primary, rule = (await serving.describe(caller(), "add")).rungs
        assert (primary.served - before[0].served, primary.failed - before[0].failed) == (1, 1)
        assert (rule.served - before[1].served, primary.breaker, primary.admitted) == (1, "closed", 1.0)
