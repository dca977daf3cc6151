"""Calls that wait together are one run, no class starves another, and too long a queue is refused in time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from stanchion import System
from stanchion.core.context import Context
from stanchion.core.errors import Misconfigured, Throttled, Unavailable
from stanchion.serving import Batch, PredictOptions
from stanchion.serving.batching import Batcher, Ranked, Shed
from stanchion.serving.batching.waiting import Queue, Waiting
from stanchion.testing.clock import FakeClock

CTX = Context("t1", "ada")


class Engine:
    """Answers each item with itself when it is let go; runs are kept."""

    def __init__(self) -> None:
        self.runs: list[list[Any]] = []
        self.free = asyncio.Event()
        self.poison: Any = None
        self.error: Exception | None = None

    async def __call__(self, ctx: Context, items: Sequence[Any]) -> Sequence[Mapping[str, Any]]:
        self.runs.append(list(items))
        await self.free.wait()
        if self.error is not None:
            raise self.error
        if self.poison in items:
            raise RuntimeError("poisoned")
        return [{"is": item} for item in items]


def ranked(items: Sequence[Any], priority: str) -> Ranked:
    made = Ranked(items)
    made.priority = priority  # type: ignore[assignment]  # the parameter of a test
    return made


async def settled(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)


async def test_calls_that_come_during_a_run_go_together_in_the_next() -> None:
    engine = Engine()
    batcher = Batcher(engine, Batch(size=4), clock=FakeClock())
    calls = [asyncio.create_task(batcher(CTX, [number])) for number in range(6)]
    await settled(lambda: engine.runs)
    engine.free.set()
    assert [await call for call in calls] == [[{"is": number}] for number in range(6)]
    assert [len(run) for run in engine.runs] == [4, 2]
    assert batcher.status().instances == 6


async def test_an_idle_model_answers_one_call_at_once() -> None:
    engine = Engine()
    engine.free.set()
    batcher = Batcher(engine, Batch(size=32), clock=FakeClock())
    assert await batcher(CTX, ["a"]) == [{"is": "a"}]
    assert await batcher(CTX, ["b"]) == [{"is": "b"}]
    assert engine.runs == [["a"], ["b"]]


async def test_a_full_batch_is_handed_over_while_the_one_before_runs_and_a_part_of_one_is_not() -> None:
    engine = Engine()
    batcher = Batcher(engine, Batch(size=2), clock=FakeClock(), ahead=True)
    calls = [asyncio.create_task(batcher(CTX, [0]))]
    await settled(lambda: engine.runs)
    calls += [asyncio.create_task(batcher(CTX, [number])) for number in range(1, 6)]
    await settled(lambda: len(engine.runs) == 2)
    assert engine.runs == [[0], [1, 2]]
    assert batcher.status().waiting == 3
    engine.free.set()
    assert [await call for call in calls] == [[{"is": number}] for number in range(6)]
    assert [len(run) for run in engine.runs] == [1, 2, 2, 1]


async def test_what_a_run_stood_behind_another_is_not_taken_for_its_own_time() -> None:
    clock, ends = FakeClock(), [asyncio.Event(), asyncio.Event()]
    begun: list[Any] = []

    async def engine(ctx: Context, items: Sequence[Any]) -> Sequence[Mapping[str, Any]]:
        begun.extend(items)
        await ends[items[0]].wait()
        return [{"is": item} for item in items]

    batcher = Batcher(engine, Batch(size=1, most_wait_ms=60_000), clock=clock, ahead=True)
    calls = [asyncio.create_task(batcher(CTX, [number])) for number in (0, 1)]
    await settled(lambda: begun == [0, 1])
    for call, end in zip(calls, ends, strict=True):
        clock.advance(0.1)
        end.set()
        await call
    for end in ends:
        end.clear()
    others = [asyncio.create_task(batcher(CTX, [number])) for number in (0, 1, 1)]
    await settled(lambda: batcher.status().waiting == 1)
    with pytest.raises(Shed) as caught:
        await batcher(CTX.until(clock.monotonic() + 0.05), [1])
    assert caught.value.retry_after == pytest.approx(0.1)
    for end in ends:
        end.set()
    await asyncio.gather(*others)


async def test_a_large_call_is_answered_in_pieces_and_in_order() -> None:
    engine = Engine()
    engine.free.set()
    batcher = Batcher(engine, Batch(size=8), clock=FakeClock())
    large, small = await asyncio.gather(batcher(CTX, list(range(30))), batcher(CTX, ["x"]))
    assert [each["is"] for each in large] == list(range(30))
    assert [each["is"] for each in small] == ["x"]
    assert all(len(run) <= 8 for run in engine.runs)


async def test_a_poisoned_call_fails_alone() -> None:
    engine = Engine()
    engine.poison = "bad"
    batcher = Batcher(engine, Batch(size=8), clock=FakeClock())
    calls = [asyncio.create_task(batcher(CTX, [item])) for item in ("a", "bad", "c")]
    await settled(lambda: engine.runs)
    engine.free.set()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert answers[0] == [{"is": "a"}]
    assert isinstance(answers[1], RuntimeError)
    assert answers[2] == [{"is": "c"}]


async def test_an_engine_that_is_down_is_not_asked_again_for_each_call() -> None:
    engine = Engine()
    engine.error = Unavailable("down")
    engine.free.set()
    batcher = Batcher(engine, Batch(size=64), clock=FakeClock())
    answers = await asyncio.gather(*(batcher(CTX, [n]) for n in range(50)), return_exceptions=True)
    assert all(isinstance(each, Unavailable) for each in answers)
    assert len(engine.runs) == 1


async def test_a_caller_that_leaves_takes_its_instances_out_of_the_queue() -> None:
    engine = Engine()
    batcher = Batcher(engine, Batch(size=1), clock=FakeClock())
    first = asyncio.create_task(batcher(CTX, ["first"]))
    await settled(lambda: engine.runs)
    gone = asyncio.create_task(batcher(CTX, ["gone"]))
    await settled(lambda: batcher.status().waiting == 1)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert batcher.status().waiting == 0
    engine.free.set()
    await first
    assert engine.runs == [["first"]]


async def test_a_queue_that_is_too_long_is_refused_with_the_time_to_come_back() -> None:
    clock, engine = FakeClock(), Engine()
    batcher = Batcher(engine, Batch(size=1, most_wait_ms=250), clock=clock)
    first = asyncio.create_task(batcher(CTX, [0]))
    await settled(lambda: engine.runs)
    clock.advance(0.1)
    engine.free.set()
    await first
    engine.free.clear()
    waiting = [asyncio.create_task(batcher(CTX, [1]))]
    await settled(lambda: len(engine.runs) == 2)
    waiting += [asyncio.create_task(batcher(CTX, [number])) for number in range(2, 5)]
    await settled(lambda: batcher.status().waiting == 3)
    with pytest.raises(Shed) as caught:
        await batcher(CTX, [9])
    assert caught.value.retry_after == pytest.approx(0.3)
    assert batcher.status().shed == 1
    engine.free.set()
    await asyncio.gather(*waiting)


async def test_a_caller_whose_time_would_end_in_the_queue_is_refused_at_once() -> None:
    clock, engine = FakeClock(), Engine()
    batcher = Batcher(engine, Batch(size=1, most_wait_ms=60_000), clock=clock)
    first = asyncio.create_task(batcher(CTX, [0]))
    await settled(lambda: engine.runs)
    clock.advance(1.0)
    engine.free.set()
    await first
    engine.free.clear()
    others = [asyncio.create_task(batcher(CTX, [n])) for n in (1, 2)]
    await settled(lambda: batcher.status().waiting == 1)
    with pytest.raises(Shed):
        await batcher(CTX.until(clock.monotonic() + 0.5), [3])
    engine.free.set()
    await asyncio.gather(*others)


async def test_interactive_calls_pass_those_that_came_lately() -> None:
    engine = Engine()
    batcher = Batcher(engine, Batch(size=1, most_wait_ms=60_000), clock=FakeClock())
    tasks = [asyncio.create_task(batcher(CTX, ["first"]))]
    await settled(lambda: engine.runs)
    for item, priority in (("bulk", "bulk"), ("normal", "normal"), ("urgent", "interactive")):
        tasks.append(asyncio.create_task(batcher(CTX, ranked([item], priority))))
    await settled(lambda: batcher.status().waiting == 3)
    engine.free.set()
    await asyncio.gather(*tasks)
    assert engine.runs == [["first"], ["urgent"], ["normal"], ["bulk"]]


async def test_a_bulk_call_that_has_waited_passes_interactive_ones() -> None:
    clock, engine = FakeClock(), Engine()
    batcher = Batcher(engine, Batch(size=1, most_wait_ms=60_000), clock=clock)
    tasks = [asyncio.create_task(batcher(CTX, ["first"]))]
    await settled(lambda: engine.runs)
    tasks.append(asyncio.create_task(batcher(CTX, ranked(["bulk"], "bulk"))))
    await settled(lambda: batcher.status().waiting == 1)
    clock.advance(1.5)
    tasks.append(asyncio.create_task(batcher(CTX, ranked(["urgent"], "interactive"))))
    await settled(lambda: batcher.status().waiting == 2)
    engine.free.set()
    await asyncio.gather(*tasks)
    assert engine.runs == [["first"], ["bulk"], ["urgent"]]


@given(
    st.lists(st.tuples(st.sampled_from(["interactive", "normal", "bulk"]), st.integers(1, 7)), max_size=30),
    st.integers(1, 9),
)
async def test_every_instance_is_taken_once_and_in_order(calls: list[tuple[Any, int]], size: int) -> None:
    queue, waiting = Queue(), []
    for number, (priority, count) in enumerate(calls):
        call = Waiting(CTX, [(number, item) for item in range(count)], float(number), float(number))
        waiting.append(call)
        queue.add(call, priority)
    taken = []
    while pieces := queue.take(size):
        assert sum(len(piece.items) for piece in pieces) <= size
        taken += [item for piece in pieces for item in piece.items]
    assert queue.instances == 0
    expected = {(number, item) for number, (_, count) in enumerate(calls) for item in range(count)}
    assert len(taken) == len(expected)
    assert set(taken) == expected
    for number in range(len(calls)):
        mine = [item for call, item in taken if call == number]
        assert mine == sorted(mine)


@pytest.mark.parametrize("options", [{"size": 0}, {"waiting": 0}, {"workers": 0}, {"wait_ms": -1}, {"most_wait_ms": 0}])
def test_a_batch_that_cannot_be_is_misconfigured(options: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured):
        Batch(**options)


class Item(BaseModel):
    value: float


class Double(BaseModel):
    value: float


async def test_too_many_calls_are_told_when_to_come_back_over_http(start: Any) -> None:
    app, free, begun = System("slow"), asyncio.Event(), asyncio.Event()

    @app.model("double", batch=Batch(size=1, waiting=1))
    async def double(items: Sequence[Item]) -> list[Double]:
        begun.set()
        await free.wait()
        return [Double(value=item.value * 2) for item in items]

    async with start(app) as run:

        async def ask(value: float) -> Any:
            return await run.predict("double", {"value": value}, options={"priority": "interactive"})

        async def waiting(count: int) -> None:
            async with asyncio.timeout(60):
                while (await run.serving.describe(run.ctx, "double")).batch.waiting != count:
                    await asyncio.sleep(0)

        first = asyncio.create_task(ask(1))
        await asyncio.wait_for(begun.wait(), 60)
        second = asyncio.create_task(ask(2))
        await waiting(1)
        refused = await ask(3)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["code"] == Throttled.code
        free.set()
        assert [(await each).json()["value"] for each in (first, second)] == [2.0, 4.0]
        rungs = (await run.serving.describe(run.ctx, "double")).rungs
        assert (rungs[0].breaker, rungs[0].failed) == ("closed", 1)


async def test_a_plain_function_behind_a_batcher_never_runs_twice_at_once(start: Any) -> None:
    app, running, most = System("lane"), [0], [0]

    def double(items: Sequence[Item]) -> list[Double]:
        running[0] += 1
        most[0] = max(most[0], running[0])
        try:
            return [Double(value=item.value * 2) for item in items]
        finally:
            running[0] -= 1

    app.model("double", batch=Batch(size=2))(double)
    async with start(app) as run:
        asked = [run.serving.predict(run.ctx, "double", [{"value": float(value)}]) for value in range(40)]
        answers = await asyncio.gather(*asked)
        assert [each.items[0].values["value"] for each in answers] == [2.0 * value for value in range(40)]
        assert most == [1]


async def test_each_instance_of_a_batched_call_keeps_its_own_error(start: Any) -> None:
    app = System("batched")

    @app.model("double", batch=Batch(size=4))
    async def double(items: Sequence[Item]) -> list[Double]:
        return [Double(value=item.value * 2) for item in items]

    async with start(app) as run:
        answer = await run.serving.predict(
            run.ctx,
            "double",
            [{"value": 1.0}, {}, {"value": 3.0}] * 5,
            options=PredictOptions(priority="bulk"),
        )
        assert [each.values.get("value") for each in answer.items] == [2.0, None, 6.0] * 5
        assert [each.error is None for each in answer.items] == [True, False, True] * 5
