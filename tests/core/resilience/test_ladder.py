from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from stanchion.core.clock import SystemClock
from stanchion.core.errors import (
    BudgetExceeded,
    DeadlineExceeded,
    InvalidInput,
    Misconfigured,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    NotTrustworthy,
    Throttled,
    Unavailable,
)
from stanchion.core.resilience import Breaker, BreakerRules, Decline, Hedge, Ladder, Rung, bounded


def answers(value):
    async def call(ctx, item):
        return f"{value}:{item}"

    return call


def raises(error):
    async def call(ctx, item):
        raise error

    return call


async def hangs(ctx, item):
    await asyncio.Event().wait()


def ladder(*rungs, clock=None, **options):
    return Ladder(rungs, clock=clock or SystemClock(), **options)


async def test_the_first_rung_answers_and_nothing_else_is_tried(ctx):
    step = await ladder(Rung(name="a", call=answers("a")), Rung(name="b", call=raises(ValueError()))).run(ctx, 7)
    assert (step.value, step.rung, step.index, step.tried) == ("a:7", "a", 0, ())


@pytest.mark.parametrize("error", [Unavailable(), Throttled(), NotTrustworthy(), KeyError("x"), Decline()])
async def test_a_failing_rung_hands_over_to_the_next_and_is_told_of(ctx, error):
    step = await ladder(Rung(name="a", call=raises(error)), Rung(name="b", call=answers("b"))).run(ctx, 1)
    assert (step.rung, step.index) == ("b", 1)
    code = "declined" if isinstance(error, Decline) else getattr(error, "code", "internal_error")
    assert [(t.rung, t.code) for t in step.tried] == [("a", code)]


@pytest.mark.parametrize("kind", [InvalidInput, NotAuthenticated, NotAllowed, NotFound, BudgetExceeded])
async def test_the_callers_own_fault_is_not_hidden_by_a_fallback(ctx, clock, kind):
    breaker = Breaker("a", clock=clock, rules=BreakerRules(consecutive=1))
    with pytest.raises(kind):
        await ladder(Rung(name="a", call=raises(kind("x")), breaker=breaker), Rung(name="b", call=answers("b"))).run(
            ctx, 1
        )
    assert breaker.snapshot().calls == 0


async def test_a_rung_over_its_own_limit_is_left_for_the_next(ctx):
    step = await ladder(Rung(name="a", call=hangs, timeout=0.001), Rung(name="b", call=answers("b"))).run(ctx, 1)
    assert step.rung == "b"
    assert step.tried[0].code == "deadline_exceeded"
    assert step.tried[0].seconds > 0


async def test_the_callers_passed_deadline_ends_the_ladder(ctx):
    late = replace(ctx, deadline=time.monotonic() + 0.002)
    with pytest.raises(DeadlineExceeded):
        await ladder(Rung(name="a", call=hangs), Rung(name="b", call=answers("b"))).run(late, 1)


async def test_a_rung_marked_always_still_answers_when_time_is_up(ctx, clock):
    late = replace(ctx, deadline=clock.monotonic() - 1)
    rungs = (Rung(name="a", call=answers("a")), Rung(name="rule", call=answers("rule"), always=True))
    step = await ladder(*rungs, clock=clock).run(late, 1)
    assert (step.rung, step.index, step.tried) == ("rule", 1, ())


async def test_time_is_kept_back_for_the_rung_marked_always(ctx):
    async with bounded(ctx, 5.0, clock=SystemClock()) as narrowed:
        step = await ladder(
            Rung(name="a", call=hangs), Rung(name="rule", call=answers("rule"), always=True), reserve=4.99
        ).run(narrowed, 1)
    assert step.rung == "rule"


async def test_an_always_rung_that_declines_late_leaves_the_deadline_error(ctx, clock):
    late = replace(ctx, deadline=clock.monotonic() - 1)
    with pytest.raises(DeadlineExceeded):
        await ladder(Rung(name="rule", call=raises(Decline()), always=True), clock=clock).run(late, 1)


async def test_when_all_fail_every_rung_and_reason_is_named(ctx):
    with pytest.raises(Unavailable) as caught:
        await ladder(
            Rung(name="a", call=raises(Throttled(retry_after=9))),
            Rung(name="b", call=raises(ValueError("secret"))),
        ).run(ctx, 1)
    assert caught.value.detail == "no rung answered (a: throttled, b: internal_error)"
    assert caught.value.retry_after == 9
    assert isinstance(caught.value.__cause__, ExceptionGroup)


async def test_an_open_circuit_is_skipped_without_a_call(ctx, clock):
    breaker = Breaker("a", clock=clock, rules=BreakerRules(consecutive=2))
    calls = []

    async def broken(ctx, item):
        calls.append(item)
        raise Unavailable

    steps = ladder(Rung(name="a", call=broken, breaker=breaker), Rung(name="b", call=answers("b")), clock=clock)
    codes = [(await steps.run(ctx, n)).tried[0].code for n in range(4)]
    assert codes == ["unavailable", "unavailable", "circuit_open", "circuit_open"]
    assert calls == [0, 1]


async def test_cancellation_passes_through_and_counts_neither_way(ctx, clock):
    breaker = Breaker("a", clock=clock, rules=BreakerRules(consecutive=1))
    second = []

    async def never(ctx, item):
        second.append(item)

    task = asyncio.create_task(
        ladder(Rung(name="a", call=hangs, breaker=breaker), Rung(name="b", call=never)).run(ctx, 1)
    )
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (breaker.snapshot().calls, second) == (0, [])


async def test_a_decline_counts_as_success(ctx, clock):
    breaker = Breaker("a", clock=clock, rules=BreakerRules(consecutive=1))
    await ladder(Rung(name="a", call=raises(Decline()), breaker=breaker), Rung(name="b", call=answers("b"))).run(ctx, 1)
    assert (breaker.snapshot().calls, breaker.snapshot().failure_ratio) == (1, 0.0)


async def test_a_hurried_caller_does_not_open_the_circuit_for_others(ctx):
    clock = SystemClock()
    breaker = Breaker("a", clock=clock, rules=BreakerRules(consecutive=1))
    hurried = replace(ctx, deadline=clock.monotonic() + 0.002)
    with pytest.raises(DeadlineExceeded):
        await ladder(Rung(name="a", call=hangs, breaker=breaker)).run(hurried, 1)
    assert breaker.snapshot().state == "closed"


async def test_a_rungs_own_limit_counts_against_it(ctx):
    breaker = Breaker("a", clock=SystemClock(), rules=BreakerRules(consecutive=1))
    await ladder(Rung(name="a", call=hangs, timeout=0.001, breaker=breaker), Rung(name="b", call=answers("b"))).run(
        ctx, 1
    )
    assert breaker.snapshot().state == "open"


async def test_a_rung_sees_its_own_earlier_deadline(ctx, clock):
    seen = []

    async def look(ctx, item):
        seen.append(ctx.deadline)

    await ladder(Rung(name="a", call=look, timeout=3.0), clock=clock).run(replace(ctx, deadline=2000.0), 1)
    await ladder(Rung(name="a", call=look, timeout=3.0), clock=clock).run(replace(ctx, deadline=1001.0), 1)
    assert seen == [1003.0, 1001.0]


@pytest.mark.parametrize("names", [[], ["a", "a"]])
def test_a_ladder_without_distinct_rungs_is_refused(names):
    with pytest.raises(Misconfigured):
        ladder(*(Rung(name=name, call=answers("x")) for name in names))


async def test_a_slow_rung_is_hedged_by_the_next_and_the_loser_ends_before_the_answer(ctx):
    ended = []

    async def slow(ctx, item):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("slow")

    hedged = Rung(name="a", call=slow, hedge=Hedge(0.001))
    step = await ladder(hedged, Rung(name="b", call=answers("b"))).run(ctx, 1)
    assert (step.value, step.rung, step.index, step.tried) == ("b:1", "b", 1, ())
    assert ended == ["slow"]


async def test_a_hedged_rung_that_answers_in_time_is_alone(ctx):
    asked = []

    async def second(ctx, item):
        asked.append(item)
        return "b"

    step = await ladder(Rung(name="a", call=answers("a"), hedge=Hedge(60)), Rung(name="b", call=second)).run(ctx, 1)
    assert (step.value, step.rung) == ("a:1", "a")
    assert asked == []


async def test_the_first_attempt_may_still_win(ctx):
    begun = asyncio.Event()

    async def second(ctx, item):
        begun.set()
        await asyncio.Event().wait()

    async def first(ctx, item):
        await begun.wait()
        return "a"

    step = await ladder(Rung(name="a", call=first, hedge=Hedge(0.001)), Rung(name="b", call=second)).run(ctx, 1)
    assert (step.value, step.rung) == ("a", "a")


async def test_the_same_rung_may_be_asked_again(ctx):
    asked = []

    async def replica(ctx, item):
        asked.append(item)
        if len(asked) == 1:
            await asyncio.Event().wait()
        return f"answer {len(asked)}"

    step = await ladder(Rung(name="a", call=replica, hedge=Hedge(0.001, "same"))).run(ctx, 1)
    assert (step.value, step.rung, step.index) == ("answer 2", "a", 0)


async def test_where_both_attempts_fail_the_rung_after_them_answers_and_all_is_told(ctx):
    begun = asyncio.Event()

    async def first(ctx, item):
        await begun.wait()
        raise Unavailable("first")

    async def second(ctx, item):
        begun.set()
        raise KeyError("second")

    step = await ladder(
        Rung(name="a", call=first, hedge=Hedge(0.001)),
        Rung(name="b", call=second),
        Rung(name="c", call=answers("c")),
    ).run(ctx, 1)
    assert (step.rung, step.index) == ("c", 2)
    assert sorted((t.rung, t.code) for t in step.tried) == [("a", "unavailable"), ("b", "internal_error")]


async def test_a_rung_that_fails_before_its_hedge_hands_over_as_ever(ctx):
    step = await ladder(
        Rung(name="a", call=raises(Unavailable()), hedge=Hedge(60)), Rung(name="b", call=answers("b"))
    ).run(ctx, 1)
    assert (step.rung, [(t.rung, t.code) for t in step.tried]) == ("b", [("a", "unavailable")])


async def test_a_hedged_race_does_not_open_the_losers_breaker(ctx, clock):
    breaker = Breaker("a", clock=clock, rules=BreakerRules(consecutive=2))
    rungs = Rung(name="a", call=hangs, breaker=breaker, hedge=Hedge(0.001)), Rung(name="b", call=answers("b"))
    for _ in range(5):
        assert (await ladder(*rungs).run(ctx, 1)).rung == "b"
    assert breaker.snapshot().state == "closed"


async def test_the_callers_own_fault_ends_a_race(ctx):
    with pytest.raises(NotFound):
        await ladder(Rung(name="a", call=raises(NotFound()), hedge=Hedge(60)), Rung(name="b", call=answers("b"))).run(
            ctx, 1
        )


async def test_a_cancelled_race_leaves_nothing_running(ctx):
    begun, ended = asyncio.Event(), asyncio.Event()

    async def second(ctx, item):
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    race = ladder(Rung(name="a", call=hangs, hedge=Hedge(0.001)), Rung(name="b", call=second)).run(ctx, 1)
    task = asyncio.create_task(race)
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


def test_a_hedge_waits_for_something():
    with pytest.raises(Misconfigured):
        Hedge(0)
