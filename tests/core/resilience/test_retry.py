from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.core.errors import BudgetExceeded, CircuitOpen, InvalidInput, Misconfigured, Throttled, Unavailable
from stanchion.core.resilience import Retry, RetryBudget, RetryRules


class Failing:
    """Fails `times` times with `error`, then answers."""

    def __init__(self, times, error=None):
        self.left = times
        self.error = error or Unavailable()
        self.calls = 0

    async def __call__(self):
        self.calls += 1
        if self.left:
            self.left -= 1
            raise self.error
        return "answer"


def retrying(clock, *, waits=None, budget=None, **rules):
    async def sleep(seconds):
        if waits is not None:
            waits.append(seconds)
        clock.advance(seconds)

    budget = budget or RetryBudget(clock=clock)
    return Retry(clock=clock, budget=budget, rules=RetryRules(**rules), sleep=sleep, draw=lambda: 0.5)


async def test_a_passing_failure_is_retried_with_growing_waits(ctx, clock):
    waits = []
    call = Failing(3)
    assert await retrying(clock, waits=waits, attempts=4, base=0.2).run(ctx, call, idempotent=True) == "answer"
    assert (call.calls, waits) == (4, pytest.approx([0.1, 0.2, 0.4]))


async def test_the_last_error_is_raised_when_attempts_run_out(ctx, clock):
    call = Failing(9)
    with pytest.raises(Unavailable):
        await retrying(clock, attempts=3).run(ctx, call, idempotent=True)
    assert call.calls == 3


async def test_a_call_with_effects_is_never_repeated(ctx, clock):
    call = Failing(1)
    with pytest.raises(Unavailable):
        await retrying(clock).run(ctx, call, idempotent=False)
    assert call.calls == 1


@pytest.mark.parametrize("error", [InvalidInput(), BudgetExceeded(), CircuitOpen(), ValueError()])
async def test_what_a_repeat_would_not_cure_is_not_repeated(ctx, clock, error):
    call = Failing(1, error)
    with pytest.raises(type(error)):
        await retrying(clock).run(ctx, call, idempotent=True)
    assert call.calls == 1


async def test_an_open_circuit_is_retried_only_when_asked(ctx, clock):
    assert await retrying(clock, circuit_open=True).run(ctx, Failing(1, CircuitOpen()), idempotent=True) == "answer"


async def test_the_peers_retry_after_is_the_least_wait(ctx, clock):
    waits = []
    await retrying(clock, waits=waits).run(ctx, Failing(1, Throttled(retry_after=3)), idempotent=True)
    assert waits == [3]


async def test_a_longer_retry_after_than_allowed_is_not_waited_for(ctx, clock):
    call = Failing(1, Throttled(retry_after=60))
    with pytest.raises(Throttled):
        await retrying(clock, maximum=5).run(ctx, call, idempotent=True)
    assert call.calls == 1


async def test_no_wait_goes_past_the_callers_deadline(ctx, clock):
    call = Failing(1, Throttled(retry_after=3))
    with pytest.raises(Throttled):
        await retrying(clock).run(replace(ctx, deadline=clock.monotonic() + 3), call, idempotent=True)
    assert call.calls == 1


async def test_an_empty_budget_stops_retries(ctx, clock):
    retry = retrying(clock, budget=RetryBudget(clock=clock, ratio=0.0, minimum=1))
    first, second = Failing(1), Failing(1)
    assert await retry.run(ctx, first, idempotent=True) == "answer"
    with pytest.raises(Unavailable):
        await retry.run(ctx, second, idempotent=True)
    clock.advance(11)
    assert await retry.run(ctx, Failing(1), idempotent=True) == "answer"


async def test_cancelling_during_the_wait_makes_no_further_call(ctx, clock):
    asleep = asyncio.Event()

    async def sleep(seconds):
        asleep.set()
        await asyncio.Event().wait()

    call = Failing(1)
    retry = Retry(clock=clock, budget=RetryBudget(clock=clock), sleep=sleep)
    task = asyncio.create_task(retry.run(ctx, call, idempotent=True))
    await asleep.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert call.calls == 1


def test_rules_that_make_no_sense_are_refused():
    with pytest.raises(Misconfigured):
        RetryRules(attempts=0)


@given(
    st.lists(st.one_of(st.just("call"), st.just("retry"), st.floats(0.01, 5.0)), max_size=300),
    st.floats(0.0, 0.5),
    st.integers(0, 5),
)
def test_retries_stay_within_the_budget(new_clock, events, ratio, minimum):
    clock, seconds = new_clock(), 10.0
    budget = RetryBudget(clock=clock, ratio=ratio, minimum=minimum, window=seconds)
    calls, retries = [], []
    for event in events:
        now = clock.monotonic()
        if event == "call":
            budget.called()
            calls.append(now)
        elif event == "retry":
            if budget.take():
                retries.append(now)
                # The window covers at least nine tenths of its length and at most all of it.
                recent = sum(t > now - 0.9 * seconds for t in retries)
                assert recent <= minimum + ratio * sum(t > now - seconds for t in calls) + 1e-9
        else:
            clock.advance(event)
