"""References, other tenants, and several instances at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import BaseModel, model_validator

from stanchion.core.errors import InvalidInput, Misconfigured, NotFound, PayloadTooLarge, StanchionError, Unavailable
from stanchion.serving import ServedSpec
from stanchion.serving.shelf import Limits


@pytest.fixture
async def serving(bench: Any) -> Any:
    service = bench.serving(limits=Limits(versions=2, tenants=2, fresh_seconds=5))
    await service.start()
    yield service
    await service.stop()


async def test_versions_and_aliases_are_served_on_demand(serving: Any, bench: Any, ctx: Any, customer: Any) -> None:
    for number in range(3):
        await bench.register(f"m{number}", number / 10)
    await bench.registry.alias(ctx, "churn", "best", "1.1.0")
    answers = [await serving.predict(ctx, f"churn@{ref}", [customer]) for ref in ("1.0.0", "best", "latest", "1.0.0")]
    assert [each.version for each in answers] == ["1.0.0", "1.1.0", "1.2.0", "1.0.0"]
    assert [each.items[0].values["probability"] for each in answers] == [0.0, 0.1, 0.2, 0.0]
    bench.runtime.graphs["m0"].fault = bench.runtime.graphs["m0-simple"].fault = RuntimeError("down")
    assert (await serving.predict(ctx, "churn@1.0.0", [{**customer, "months": 99}])).served_by == "rule"


async def test_only_so_many_versions_are_held(serving: Any, bench: Any, ctx: Any, customer: Any) -> None:
    for number in range(5):
        await bench.register(f"m{number}", model="other")
    for version in ("1.0.0", "1.1.0", "1.2.0", "1.0.0"):
        await serving.predict(ctx, f"other@{version}", [customer])
    assert [name for name in bench.runtime.loads if "simple" not in name].count("m0") == 2


async def test_a_moved_alias_is_followed(serving: Any, bench: Any, ctx: Any, customer: Any) -> None:
    await bench.register("a")
    await bench.register("b")
    await bench.registry.alias(ctx, "churn", "best", "1.0.0")
    assert (await serving.predict(ctx, "churn@best", [customer])).version == "1.0.0"
    await bench.registry.alias(ctx, "churn", "best", "1.1.0")
    async with asyncio.timeout(60):
        while (await serving.predict(ctx, "churn@best", [customer])).version != "1.1.0":
            await asyncio.sleep(0)


async def test_many_who_ask_for_a_new_version_at_once_cost_one_load(
    serving: Any, bench: Any, stranger: Any, customer: Any
) -> None:
    await bench.register("theirs", model="other", tenant="t2")
    await asyncio.gather(*(serving.predict(stranger, "other", [customer]) for _ in range(20)))
    assert bench.runtime.loads == ["theirs", "theirs-simple"]


async def test_another_tenant_finds_only_its_own_models(
    serving: Any, bench: Any, ctx: Any, stranger: Any, customer: Any
) -> None:
    await bench.register("ours", 0.7)
    for reference in ("churn", "churn@1.0.0", "churn@latest"):
        with pytest.raises(NotFound):
            await serving.predict(stranger, reference, [customer])
        with pytest.raises(NotFound):
            await serving.describe(stranger, reference)
    assert await serving.models(stranger) == []
    await bench.register("theirs", 0.2, tenant="t2")
    answer = await serving.predict(stranger, "churn", [customer])
    assert answer.items[0].values["probability"] == 0.2
    assert [each.name for each in (await serving.models(stranger))[0].rungs] == ["primary", "simple"]
    assert (await serving.predict(ctx, "churn@1.0.0", [customer])).items[0].values["probability"] == 0.7


async def test_another_tenant_gets_no_rule_of_the_systems_owner(
    serving: Any, bench: Any, stranger: Any, customer: Any
) -> None:
    await bench.register("theirs", tenant="t2")
    await serving.predict(stranger, "churn", [customer])
    bench.runtime.graphs["theirs"].fault = bench.runtime.graphs["theirs-simple"].fault = RuntimeError("down")
    with pytest.raises(Unavailable):
        await serving.predict(stranger, "churn", [customer])


@pytest.mark.parametrize(
    "reference", ["", "no-such", "churn@9.9.9", "churn@nowhere", "a b", "churn@", "x" * 300, "@", "é"]
)
async def test_a_reference_to_nothing_is_refused(reference: str, serving: Any, ctx: Any, customer: Any) -> None:
    with pytest.raises((NotFound, InvalidInput)):
        await serving.predict(ctx, reference, [customer])


async def test_a_faulty_instance_does_not_spoil_the_others(serving: Any, bench: Any, ctx: Any, customer: Any) -> None:
    answer = await serving.predict(
        ctx, "churn", [{**customer, "months": 30}, {"months": 1}, {**customer, "months": 99}]
    )
    assert [each.values.get("prediction") for each in answer.items] == ["low", None, "low"]
    error = answer.items[1].error
    assert error["code"] == "invalid_input"
    assert {each["path"] for each in error["errors"]} == {"$.instances[1].customer_id", "$.instances[1].charges"}


async def test_a_rule_that_declines_one_instance_declines_the_call(serving: Any, ctx: Any, customer: Any) -> None:
    answer = await serving.predict(ctx, "churn", [{**customer, "months": 30}, customer])
    assert (answer.served_by, answer.tried) == ("default", ("rule",))


async def test_a_call_of_only_faulty_instances_says_so_for_each(serving: Any, ctx: Any) -> None:
    answer = await serving.predict(ctx, "churn", [{}, {}])
    assert answer.served_by == "none"
    assert all(each.error is not None for each in answer.items)


async def test_one_to_ten_thousand_instances_are_taken(serving: Any, ctx: Any, customer: Any) -> None:
    with pytest.raises(InvalidInput):
        await serving.predict(ctx, "churn", [])
    with pytest.raises(PayloadTooLarge):
        await serving.predict(ctx, "churn", [customer] * 10_001)
    assert len((await serving.predict(ctx, "churn", [customer] * 10_000)).items) == 10_000


@pytest.mark.parametrize(
    "about",
    [
        {"columns": [{"name": "nowhere", "kind": "number"}]},
        {"rungs": {"primary": "absent.onnx"}},
        {"rungs": {}},
        {"bands": [["low", 0.5]]},
        {"bands": "none"},
        {"columns": [{"name": "contract", "kind": "category", "categories": ["monthly"]}]},
    ],
)
async def test_a_package_that_contradicts_itself_is_not_served(
    about: Any, serving: Any, bench: Any, ctx: Any, customer: Any
) -> None:
    await bench.register("odd", about=about)
    with pytest.raises(Unavailable):
        await serving.predict(ctx, "churn@1.0.0", [customer])


class Pair(BaseModel):
    left: int
    right: int

    @model_validator(mode="after")
    def _in_order(self) -> Pair:
        if self.left > self.right:
            raise ValueError("left is beyond right")
        return self


class Sum(BaseModel):
    total: int


async def add(items: Sequence[Pair]) -> list[Sum]:
    if any(item.left == 13 for item in items):
        raise RuntimeError("unlucky")
    return [Sum(total=item.left + item.right) for item in items if item.left != 99]


def add_slowly(items: Sequence[Pair]) -> list[Sum]:
    return [Sum(total=item.left + item.right) for item in items]


async def test_a_python_function_is_a_model(bench: Any, ctx: Any) -> None:
    service = bench.serving(ServedSpec("sum", Pair, Sum, function=add, rule=lambda pair: Sum(total=-pair.left)))
    answer = await service.predict(ctx, "sum", [{"left": 1, "right": 2}])
    assert (answer.served_by, answer.version, answer.items[0].values) == ("primary", "declared", {"total": 3})
    answer = await service.predict(ctx, "sum", [{"left": 13, "right": 20}])
    assert (answer.served_by, answer.items[0].values) == ("rule", {"total": -13})
    assert (await service.predict(ctx, "sum", [{"left": 99, "right": 100}])).served_by == "rule"  # one outcome short
    assert (await service.describe(ctx, "sum")).rungs[0].kind == "function"


async def test_a_plain_function_is_run_in_a_thread(bench: Any, ctx: Any) -> None:
    service = bench.serving(ServedSpec("sum", Pair, Sum, function=add_slowly))
    assert (await service.predict(ctx, "sum", [{"left": 1, "right": 2}])).items[0].values == {"total": 3}


async def test_the_declared_types_own_validators_have_their_say(bench: Any, ctx: Any) -> None:
    service = bench.serving(ServedSpec("sum", Pair, Sum, function=add))
    for faulty in ({"left": 2, "right": 1}, {"left": 1, "right": 2, "more": 3}, {"left": "1", "right": 2}):
        with pytest.raises(InvalidInput):
            await service.predict(ctx, "sum", [faulty])


def test_an_output_that_hides_what_every_answer_has_is_refused(bench: Any) -> None:
    class Bad(BaseModel):
        model_id: str

    with pytest.raises(Misconfigured):
        bench.serving(ServedSpec("bad", Pair, Bad))
    with pytest.raises(Misconfigured):
        bench.serving(bench.spec(), bench.spec())


async def test_the_registry_away_leaves_what_is_known(bench: Any, ctx: Any, customer: Any) -> None:
    class Away:
        gone = False

        def __getattr__(self, name: str) -> Any:
            if Away.gone:
                raise Unavailable("the registry does not answer")
            return getattr(bench.registry, name)

    await bench.register("a")
    service = bench.serving(registry=Away())
    assert (await service.predict(ctx, "churn@1.0.0", [customer])).version == "1.0.0"
    Away.gone = True
    bench.clock.advance(3600)
    assert (await service.predict(ctx, "churn@1.0.0", [customer])).version == "1.0.0"
    with pytest.raises(StanchionError):
        await service.predict(ctx, "churn@1.1.0", [customer])
