"""Ensembles, chains and switches over members that do as they are told, called through serving itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import BaseModel, Field

from stanchion import System
from stanchion.core.errors import InvalidInput, Misconfigured, Unavailable
from stanchion.serving import (
    Drop,
    Fail,
    Member,
    Predictions,
    Serving,
    Stack,
    Substitute,
    Vote,
    WeightedMean,
    check_circles,
)
from stanchion.testing.offline import Offline, offline


class In(BaseModel):
    x: float = Field(ge=-100, le=100)
    kind: str = "a"


class Out(BaseModel):
    p: float
    label: str = ""


class Answer(BaseModel):
    p: float = 0.0
    label: str = ""
    share: float = 0.0


class Top(BaseModel):
    first: float
    second: float
    x: float


class Members:
    """A system with three members: `one`, `two` and `three` answer what they are told, or fail."""

    def __init__(self) -> None:
        self.app = System("members")
        self.says: dict[str, Out | Exception | None] = {
            "one": Out(p=0.2, label="no"),
            "two": Out(p=0.8, label="yes"),
            "three": Out(p=0.5, label="yes"),
        }
        self.seen: dict[str, list[In]] = {}
        self.gate = asyncio.Event()
        for name in self.says:
            self.app.model(name)(self._member(name))

    def _member(self, name: str) -> Any:
        async def member(items: Sequence[In]) -> list[Out]:
            self.seen[name] = list(items)
            said = self.says[name]
            if said is None:
                await self.gate.wait()
                said = Out(p=0.0, label="late")
            if isinstance(said, Exception):
                raise said
            return [said] * len(items)

        return member

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Offline]:
        async with offline(self.app) as running:
            yield running

    async def asked(self, name: str, *instances: Mapping[str, Any]) -> Predictions:
        async with self.running() as running:
            return await running.door(Serving).predict(running.ctx, name, list(instances) or [{"x": 1.0}])


ALL = ("one", "two", "three")


@pytest.fixture
def members() -> Members:
    return Members()


async def test_a_vote_takes_the_value_with_most_weight_and_tells_its_share(members: Members) -> None:
    members.app.ensemble("vote", input=In, output=Answer, members=ALL, by=Vote("label", share="share"))
    heavy = [Member("one", weight=3), "two", "three"]
    members.app.ensemble("heavy", input=In, output=Answer, members=heavy, by=Vote("label", share="share"))
    members.app.ensemble("tied", input=In, output=Answer, members=["two", "one"], by=Vote("label"))
    assert (await members.asked("vote")).items[0].values == {"p": 0.0, "label": "yes", "share": pytest.approx(2 / 3)}
    assert (await members.asked("heavy")).items[0].values["label"] == "no"
    assert (await members.asked("tied")).items[0].values["label"] == "yes"


async def test_a_mean_is_weighted_and_takes_its_bands_label(members: Members) -> None:
    by = WeightedMean(("p",), label="label", bands={"low": 0.0, "high": 0.6})
    members.app.ensemble(
        "mean", input=In, output=Out, members=[Member("one", weight=1), Member("two", weight=3)], by=by
    )
    assert (await members.asked("mean")).items[0].values == {"p": pytest.approx(0.65), "label": "high"}


async def test_a_stack_asks_its_model_over_the_members_answers_and_the_input(members: Members) -> None:
    @members.app.model("top")
    async def top(items: Sequence[Top]) -> list[Out]:
        return [Out(p=item.first + item.second + item.x, label="top") for item in items]

    fields = {"first": "one.p", "second": "two.p", "x": "input.x"}
    members.app.ensemble("stack", input=In, output=Out, members=["one", "two"], by=Stack("top", fields))
    answer = await members.asked("stack", {"x": 1.0}, {"x": 2.0})
    assert [each.values["p"] for each in answer.items] == [pytest.approx(2.0), pytest.approx(3.0)]


async def test_members_run_at_the_same_time(members: Members) -> None:
    met = asyncio.Barrier(2)
    app = System("meeting")

    async def meet(items: Sequence[In]) -> list[Out]:
        await met.wait()
        return [Out(p=1.0)] * len(items)

    app.model("a")(meet)
    app.model("b")(meet)
    both = app.ensemble("both", input=In, output=Out, members=["a", "b"], by=WeightedMean(("p",)))
    async with offline(app) as running:
        assert (await both.predict(running.ctx, In(x=1))).p == 1.0


@pytest.mark.parametrize("fault", [RuntimeError("broken"), Unavailable("away"), InvalidInput("not for me")])
async def test_a_failed_member_fails_drops_or_is_substituted_as_declared(members: Members, fault: Exception) -> None:
    members.says["two"] = fault
    for name, how in {
        "fail": Fail(),
        "drop": Drop(2),
        "drop3": Drop(3),
        "instead": Substitute({"two": {"p": 1.0}}),
        "other": Substitute({"one": {"p": 1.0}}),
    }.items():
        members.app.ensemble(
            name,
            input=In,
            output=Out,
            members=ALL,
            by=WeightedMean(("p",)),
            on_failure=how,
            default=Out(p=-1.0),
        )
    assert (await members.asked("fail")).served_by == "default"
    assert (await members.asked("drop")).items[0].values["p"] == pytest.approx(0.35)
    assert (await members.asked("drop3")).served_by == "default"
    assert (await members.asked("instead")).items[0].values["p"] == pytest.approx(1.7 / 3)
    assert (await members.asked("other")).served_by == "default"


async def test_a_member_that_is_late_counts_as_failed(members: Members) -> None:
    members.says["two"] = None
    late = Member("two", seconds=0.01)
    members.app.ensemble("e", input=In, output=Out, members=["one", late], by=WeightedMean(("p",)), on_failure=Drop())
    assert (await members.asked("e")).items[0].values["p"] == pytest.approx(0.2)


async def test_a_strict_ensemble_takes_no_members_fallback(members: Members) -> None:
    members.app.model("weak", default=Out(p=9.0))(_broken)
    for name, strict in {"lenient": False, "strict": True}.items():
        members.app.ensemble(
            name,
            input=In,
            output=Out,
            members=["one", "weak"],
            by=WeightedMean(("p",)),
            on_failure=Drop(),
            strict=strict,
        )
    assert (await members.asked("lenient")).items[0].values["p"] == pytest.approx(4.6)
    assert (await members.asked("strict")).items[0].values["p"] == pytest.approx(0.2)


async def _broken(items: Sequence[In]) -> list[Out]:
    raise RuntimeError("broken")


async def test_a_member_is_given_only_the_fields_it_is_declared_to_get(members: Members) -> None:
    some = [Member("one", fields=("x",)), "two"]
    members.app.ensemble("e", input=In, output=Out, members=some, by=WeightedMean(("p",)))
    await members.asked("e", {"x": 1.0, "kind": "b"})
    assert (members.seen["one"][0].kind, members.seen["two"][0].kind) == ("a", "b")


def shifted(item: In) -> In:
    return In(x=item.x + 1, kind=item.kind)


async def shouted(item: Out) -> Out:
    return Out(p=item.p, label=item.label.upper())


def refusing(item: In) -> In:
    return In(x=1000.0)


async def test_a_chain_runs_its_steps_in_order(members: Members) -> None:
    members.app.chain("chain", input=In, output=Out, steps=[shifted, "one", shouted])
    answer = await members.asked("chain", {"x": 1.0}, {"x": 2.0})
    assert [each.values["label"] for each in answer.items] == ["NO", "NO"]
    assert [each.x for each in members.seen["one"]] == [2.0, 3.0]


async def test_a_step_that_fails_fails_the_chain_and_not_the_caller(members: Members) -> None:
    default = Out(p=-1.0)
    members.app.chain("chain", input=In, output=Out, steps=[refusing, "one"], default=default)
    members.app.chain("odd", input=In, output=Out, steps=["one", shifted], default=default)
    assert (await members.asked("chain")).served_by == "default"
    assert (await members.asked("odd")).served_by == "default"


async def test_a_step_without_types_is_refused_at_the_start(members: Members) -> None:
    members.app.chain("chain", input=In, output=Out, steps=[lambda item: item])
    with pytest.raises(Misconfigured, match="annotated"):
        await members.asked("chain")


async def test_a_switch_sends_each_instance_to_its_model(members: Members) -> None:
    members.app.switch(
        "switch",
        input=In,
        output=Out,
        cases=[(lambda item: item.kind == "b", "two"), (lambda item: item.x > 5, "three")],
        otherwise="one",
    )
    answer = await members.asked("switch", {"x": 1}, {"x": 1, "kind": "b"}, {"x": 9}, {"x": 2})
    assert [each.values["p"] for each in answer.items] == [0.2, 0.8, 0.5, 0.2]
    assert len(members.seen["one"]) == 2


async def test_a_predicate_that_raises_fails_the_switch(members: Members) -> None:
    members.app.switch(
        "switch", input=In, output=Out, cases=[(lambda item: 1 / 0 > 1, "two")], otherwise="one", default=Out(p=-1)
    )
    assert (await members.asked("switch")).served_by == "default"


async def test_graphs_nest_and_bad_instances_are_refused_at_the_door(members: Members) -> None:
    chain = members.app.chain("chain", input=In, output=Out, steps=[shifted, "two"])
    both = members.app.ensemble("both", input=In, output=Out, members=["one", chain], by=WeightedMean(("p",)))
    members.app.switch("top", input=In, output=Out, cases=[(lambda item: True, both)], otherwise="one")
    answer = await members.asked("top", {"x": 1.0}, {"x": "one"})
    assert answer.items[0].values["p"] == pytest.approx(0.5)
    assert answer.items[1].error is not None


async def test_what_members_give_must_be_the_declared_output(members: Members) -> None:
    class Strict(BaseModel):
        missing: float

    members.app.ensemble("e", input=In, output=Strict, members=ALL, by=Vote("label"))
    with pytest.raises(Unavailable):
        await members.asked("e")


def test_a_circle_of_models_is_refused_where_it_is_closed() -> None:
    app = System("round")
    app.chain("a", input=In, output=Out, steps=["b"])
    app.switch("b", input=In, output=Out, cases=[(lambda item: True, "c@production")], otherwise="x")
    with pytest.raises(Misconfigured, match="circle: c -> a -> b -> c"):
        app.ensemble("c", input=In, output=Out, members=["a"], by=Vote("label"))
    with pytest.raises(Misconfigured, match="d -> d"):
        app.chain("d", input=In, output=Out, steps=["d@1.0.0"])


def test_models_that_share_a_member_are_no_circle() -> None:
    check_circles({"top": ["left", "right"], "left": ["x"], "right": ["x"], "x": []})


@pytest.mark.parametrize(
    "make",
    [
        lambda app: app.ensemble("e", input=In, output=Out, members=[], by=Vote("label")),
        lambda app: app.ensemble("e", input=In, output=Out, members=["a", "a@x"], by=Vote("label")),
        lambda app: app.ensemble("e", input=In, output=Out, members=["a"], by=Vote("l"), on_failure=Drop(2)),
        lambda app: app.ensemble("e", input=In, output=Out, members=["a"], by=Stack("t", {}), on_failure=Drop()),
        lambda app: app.chain("e", input=In, output=Out, steps=[]),
        lambda app: app.switch("e", input=In, output=Out, cases=[], otherwise="a"),
        lambda app: Member("a", weight=0),
        lambda app: WeightedMean(()),
        lambda app: WeightedMean(("p",), label="label"),
        lambda app: WeightedMean(("p",), label="label", bands={"low": 0.5}),
    ],
)
def test_a_graph_that_could_not_work_is_refused_at_its_declaration(make: Any) -> None:
    with pytest.raises(Misconfigured):
        make(System("s"))


async def test_what_a_graph_is_shows_in_its_rungs(members: Members) -> None:
    members.app.chain("chain", input=In, output=Out, steps=["one"], default=Out(p=0))
    async with members.running() as running:
        status = await running.door(Serving).describe(running.ctx, "chain")
    assert [(rung.name, rung.kind) for rung in status.rungs] == [("primary", "chain"), ("default", "default")]
    assert status.version == "declared"
