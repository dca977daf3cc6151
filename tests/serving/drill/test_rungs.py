"""The lower rungs of a served model: the last good answer with its age, and second attempts."""

from __future__ import annotations

from typing import Any

import pytest

from stanchion.core.context import Context
from stanchion.core.errors import Unavailable
from stanchion.serving import Hedge, LastGood, Options


def broken(bench: Any) -> None:
    for graph in bench.runtime.graphs.values():
        graph.fault = RuntimeError("broken")


async def test_the_last_good_answer_is_given_with_its_age_before_the_default(
    bench: Any, ctx: Context, stranger: Context, customer: dict[str, Any]
) -> None:
    spec = bench.spec(rule=None, options=Options(last_good=LastGood(most_age=60)))
    service = bench.serving(spec)
    await bench.register("one", 0.3, promote=True)
    await service.start()
    assert (await service.predict(ctx, "churn", [customer])).served_by == "primary"
    broken(bench)
    bench.clock.advance(12.5)
    answer = await service.predict(ctx, "churn", [customer])
    assert (answer.served_by, answer.items[0].age_seconds) == ("cached", 12.5)
    assert answer.items[0].values == {"prediction": "low", "probability": 0.3}
    other = await service.predict(ctx, "churn", [customer | {"months": 13}])
    assert (other.served_by, other.items[0].age_seconds) == ("default", None)
    both = await service.predict(ctx, "churn", [customer, customer | {"months": 13}])
    assert both.served_by == "default"
    bench.clock.advance(60)
    assert (await service.predict(ctx, "churn", [customer])).served_by == "default"
    rungs = [rung.name for rung in (await service.describe(ctx, "churn")).rungs]
    assert rungs == ["primary", "simple", "cached", "default"]
    await service.stop()


async def test_inputs_are_the_same_by_the_named_fields_and_old_entries_make_room(
    bench: Any, ctx: Context, customer: dict[str, Any]
) -> None:
    option = LastGood(by=("customer_id",), entries=2)
    service = bench.serving(bench.spec(rule=None, default=None, options=Options(last_good=option)))
    await bench.register("one", 0.3, promote=True)
    await service.start()
    for number in ("1", "2", "3"):
        await service.predict(ctx, "churn", [customer | {"customer_id": number}])
    broken(bench)
    answer = await service.predict(ctx, "churn", [customer | {"customer_id": "3", "months": 1}])
    assert answer.served_by == "cached"
    with pytest.raises(Unavailable):
        await service.predict(ctx, "churn", [customer | {"customer_id": "1"}])
    await service.stop()


async def test_last_good_answers_outlive_the_version_that_gave_them(
    bench: Any, ctx: Context, customer: dict[str, Any]
) -> None:
    service = bench.serving(bench.spec(rule=None, options=Options(last_good=LastGood())))
    await bench.register("one", 0.3, promote=True)
    await service.start()
    await service.predict(ctx, "churn", [customer])
    await bench.register("two", 0.4, promote=True)
    assert await service._shelf.refresh("churn")
    broken(bench)
    answer = await service.predict(ctx, "churn", [customer])
    assert (answer.version, answer.served_by, answer.items[0].values["probability"]) == ("1.1.0", "cached", 0.3)
    await service.stop()


async def test_a_hedged_primary_that_hangs_is_answered_by_simple(
    bench: Any, ctx: Context, customer: dict[str, Any]
) -> None:
    import threading

    service = bench.serving(bench.spec(options=Options(hedges={"primary": Hedge(0.01)})), inline_seconds=0.0)
    await bench.register("one", 0.3, promote=True)
    await service.start()
    leave = threading.Event()
    bench.runtime.graphs["one"].before = leave.wait
    answer = await service.predict(ctx, "churn", [customer])
    leave.set()
    assert (answer.served_by, answer.items[0].values["probability"]) == ("simple", 0.4)
    await service.stop()
