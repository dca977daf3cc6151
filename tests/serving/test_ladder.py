"""Each rung is taken down in turn, and the next one answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stanchion.core.errors import DeadlineExceeded, InvalidInput, Throttled, Unavailable


@pytest.fixture
async def serving(bench: Any) -> Any:
    await bench.register("a", 0.7)
    service = bench.serving()
    await service.start()
    yield service
    await service.stop()


async def test_the_primary_graph_answers_with_its_band(serving: Any, ctx: Any, customer: Any) -> None:
    answer = await serving.predict(ctx, "churn", [customer])
    assert (answer.served_by, answer.version, answer.tried) == ("primary", "1.0.0", ())
    assert answer.items[0].values == {"prediction": "high", "probability": 0.7}


async def test_the_graph_reads_its_columns_in_order(serving: Any, bench: Any, ctx: Any, customer: Any) -> None:
    await serving.predict(ctx, "churn", [{**customer, "contract": "yearly", "paperless": False, "score": 2}])
    assert bench.runtime.graphs["a"].rows == [[12, 89.99, 1.0, False, 2.0]]
    await serving.predict(ctx, "churn", [customer])
    [row] = bench.runtime.graphs["a"].rows
    assert row[:4] == [12, 89.99, 0.0, True]
    assert row[4] != row[4]


async def test_each_rung_stands_in_for_the_one_before(serving: Any, bench: Any, ctx: Any, customer: Any) -> None:
    bench.runtime.graphs["a"].fault = RuntimeError("the engine broke")
    answer = await serving.predict(ctx, "churn", [customer])
    assert (answer.served_by, answer.tried) == ("simple", ("primary",))
    assert answer.items[0].values["probability"] == 0.4
    bench.runtime.graphs["a-simple"].fault = RuntimeError("so did this one")
    answer = await serving.predict(ctx, "churn", [{**customer, "months": 30}])
    assert (answer.served_by, answer.tried) == ("rule", ("primary", "simple"))
    assert answer.items[0].values == {"prediction": "low", "probability": 0.01}
    answer = await serving.predict(ctx, "churn", [customer])
    assert (answer.served_by, answer.tried) == ("default", ("primary", "simple", "rule"))
    assert answer.version == "1.0.0"


@pytest.mark.parametrize("wrong", [float("nan"), -0.2, 1.5, float("inf")])
async def test_what_is_no_probability_is_never_served(
    wrong: float, serving: Any, bench: Any, ctx: Any, customer: Any
) -> None:
    bench.runtime.graphs["a"].probability = wrong
    assert (await serving.predict(ctx, "churn", [customer])).served_by == "simple"


async def test_a_rule_that_breaks_leaves_the_default(bench: Any, ctx: Any, customer: Any) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError

    service = bench.serving(bench.spec(rule=broken))
    answer = await service.predict(ctx, "churn", [customer])
    assert (answer.served_by, answer.version) == ("default", "none")


async def test_faulty_input_is_refused_and_never_falls_through(
    serving: Any, bench: Any, ctx: Any, customer: Any
) -> None:
    bench.runtime.graphs["a"].fault = RuntimeError("down")
    with pytest.raises(InvalidInput) as caught:
        await serving.predict(ctx, "churn", [{**customer, "months": -1}])
    assert [each.path for each in caught.value.fields] == ["$.features.months"]


async def test_a_failing_graph_is_left_alone_and_comes_back(serving: Any, bench: Any, ctx: Any, customer: Any) -> None:
    bench.runtime.graphs["a"].fault = RuntimeError("down")
    for _ in range(6):
        await serving.predict(ctx, "churn", [customer])
    status = await serving.describe(ctx, "churn")
    assert (status.rungs[0].breaker, status.rungs[0].admitted, status.rungs[0].failed) == ("open", 0.0, 5)
    bench.runtime.graphs["a"].fault = None
    assert (await serving.predict(ctx, "churn", [customer])).served_by == "simple"
    bench.clock.advance(60)
    answers = [(await serving.predict(ctx, "churn", [customer])).served_by for _ in range(200)]
    assert answers[0] == answers[-1] == "primary"
    assert (await serving.describe(ctx, "churn")).rungs[0].breaker == "closed"


async def test_without_a_version_rule_and_default_answer(bench: Any, ctx: Any, customer: Any) -> None:
    service = bench.serving()
    await service.start()
    answer = await service.predict(ctx, "churn", [{**customer, "months": 40}])
    assert (answer.served_by, answer.version) == ("rule", "none")
    assert (await service.describe(ctx, "churn")).version is None
    with pytest.raises(InvalidInput):
        await service.predict(ctx, "churn", [{"months": 1}])
    await service.stop()


async def test_without_a_version_and_without_rules_the_next_step_is_told(bench: Any, ctx: Any, customer: Any) -> None:
    service = bench.serving(bench.spec(rule=None, default=None))
    with pytest.raises(Unavailable) as caught:
        await service.predict(ctx, "churn", [customer])
    assert "stanchion train" in caught.value.hint


async def test_a_slow_graph_runs_in_a_thread(bench: Any, ctx: Any, customer: Any) -> None:
    import threading

    await bench.register("a")
    service = bench.serving(bench.spec(), inline_seconds=0.0)
    await service.start()
    where: list[threading.Thread] = []
    bench.runtime.graphs["a"].before = lambda: where.append(threading.current_thread())
    assert (await service.predict(ctx, "churn", [customer])).served_by == "primary"
    assert threading.main_thread() not in where and where
    await service.stop()


async def test_a_slow_graph_has_a_time_limit(bench: Any, ctx: Any, customer: Any) -> None:
    import threading

    await bench.register("a")
    service = bench.serving(bench.spec(timeouts={"primary": 0.05}), inline_seconds=0.0)
    await service.start()
    release = threading.Event()
    bench.runtime.graphs["a"].before = lambda: release.wait(60)
    answer = await service.predict(ctx, "churn", [customer])
    release.set()
    assert (answer.served_by, answer.tried) == ("simple", ("primary",))
    await service.stop()


async def test_more_slow_runs_than_may_wait_fall_to_the_next_rung(bench: Any) -> None:
    import threading

    from stanchion.serving.pool import Pool

    pool, release = Pool(threads=1, waiting=1), threading.Event()
    first = asyncio.create_task(pool.run(release.wait, 10))
    second = asyncio.create_task(pool.run(release.wait, 10))
    await asyncio.sleep(0)
    with pytest.raises(Throttled):
        await pool.run(release.wait, 10)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    with pytest.raises(Throttled):  # the thread is still busy with it
        await pool.run(release.wait, 10)
    release.set()
    assert await second
    pool.close()


async def test_the_callers_deadline_is_kept_by_the_rungs_that_cost_nothing(
    serving: Any, bench: Any, ctx: Any, customer: Any
) -> None:
    late = ctx.until(bench.clock.monotonic() - 1)
    assert (await serving.predict(late, "churn", [customer])).served_by == "default"
    bare = bench.serving(bench.spec(rule=None, default=None))
    await bare.start()
    with pytest.raises(DeadlineExceeded):
        await bare.predict(late, "churn", [customer])
    await bare.stop()


async def test_served_rungs_are_counted(serving: Any, bench: Any, ctx: Any, customer: Any) -> None:
    for _ in range(3):
        await serving.predict(ctx, "churn", [customer])
    body, _ = bench.metrics.render()
    assert b'stanchion_rung_served_total{operation="churn",rung="primary"} 3.0' in body
    assert (await serving.describe(ctx, "churn")).rungs[0].served == 3
