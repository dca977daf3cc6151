from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.core.errors import InvalidInput, Misconfigured, Throttled, Unavailable
from stanchion.core.resilience import Rate, RateLimiter, SharedRateLimiter


async def passes(limiter, key="k", amount=1):
    try:
        await limiter.take(key, amount)
    except Throttled:
        return False
    return True


@pytest.fixture(params=["in process", "shared"])
def limiter(request, clock, store):
    def make(*rates):
        if request.param == "shared":
            return SharedRateLimiter(*rates, store=store, clock=clock)
        return RateLimiter(*rates, clock=clock)

    return make


async def test_the_burst_passes_then_calls_are_spaced(limiter, clock):
    limit = limiter(Rate(10, 1.0, burst=3))
    assert [await passes(limit) for _ in range(4)] == [True, True, True, False]
    clock.advance(0.1)
    assert [await passes(limit) for _ in range(2)] == [True, False]


async def test_retry_after_is_exact(limiter, clock):
    limit = limiter(Rate(3, 1.0, burst=1))
    await limit.take("k")
    with pytest.raises(Throttled) as refused:
        await limit.take("k")
    assert refused.value.retry_after == pytest.approx(1 / 3, abs=2e-6)
    clock.advance(refused.value.retry_after - 2e-5)
    assert not await passes(limit)
    clock.advance(2e-5)
    assert await passes(limit)


async def test_keys_do_not_share_a_limit(limiter):
    limit = limiter(Rate(1, 60.0))
    assert await passes(limit, "a")
    assert await passes(limit, "b")
    assert not await passes(limit, "a")


async def test_the_tightest_of_several_rates_holds_and_a_refusal_uses_none_of_them(limiter, clock):
    limit = limiter(Rate(2, 1.0), Rate(3, 60.0))
    assert [await passes(limit) for _ in range(3)] == [True, True, False]
    clock.advance(1)
    assert [await passes(limit) for _ in range(2)] == [True, False]
    with pytest.raises(Throttled) as refused:
        await limit.take("k")
    assert refused.value.retry_after == pytest.approx(19, abs=1e-5)


async def test_amounts_count_as_so_many_units(limiter):
    limit = limiter(Rate(100, 60.0))
    assert await passes(limit, amount=60)
    assert not await passes(limit, amount=60)
    assert await passes(limit, amount=40)


@pytest.mark.parametrize("amount", [0, -1, 101])
async def test_an_amount_that_can_never_pass_is_refused_as_input(limiter, amount):
    with pytest.raises(InvalidInput):
        await limiter(Rate(100, 60.0)).take("k", amount)


@pytest.mark.parametrize("wrong", [(0, 1.0), (1, 0.0), (1, 1.0, 0)])
def test_a_rate_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(Misconfigured):
        Rate(*wrong)


def test_idle_keys_are_forgotten_and_busy_ones_bounded(clock):
    limit = RateLimiter(Rate(1, 1.0), clock=clock, keys=10)
    for n in range(50):
        limit.take_now(str(n))
    assert len(limit._arrivals) == 10
    clock.advance(2)
    limit.take_now("new")
    assert len(limit._arrivals) == 1


async def test_processes_share_one_limit(clock, store):
    limits = [SharedRateLimiter(Rate(10, 60.0), store=store, clock=clock) for _ in range(3)]
    passed = await asyncio.gather(*(passes(limits[n % 3]) for n in range(30)))
    assert sum(passed) == 10


async def test_a_changed_limit_starts_anew(clock, store):
    assert await passes(SharedRateLimiter(Rate(1, 60.0), store=store, clock=clock))
    assert await passes(SharedRateLimiter(Rate(1, 60.0), Rate(5, 1.0), store=store, clock=clock))


async def test_each_process_limits_by_itself_while_the_store_is_away(clock, store):
    limit = SharedRateLimiter(Rate(1, 60.0), store=store, clock=clock)

    async def away(keys):
        raise Unavailable

    store.get = away
    assert [await passes(limit) for _ in range(2)] == [True, False]


@given(
    st.lists(st.one_of(st.floats(0.0, 3.0), st.integers(1, 3)), max_size=120),
    st.integers(1, 20),
    st.floats(0.1, 10.0),
    st.integers(3, 6),
)
def test_no_stretch_of_time_passes_more_than_its_rate(new_clock, events, limit, seconds, burst):
    clock = new_clock()
    limiter = RateLimiter(Rate(limit, seconds, burst=burst), clock=clock)
    passed = []
    for event in events:
        if isinstance(event, float):
            clock.advance(event)
            continue
        try:
            limiter.take_now("k", event)
        except Throttled:
            continue
        passed += [clock.monotonic()] * event
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            stretch = passed[last] - passed[first]
            assert last - first + 1 <= burst + limit * stretch / seconds + 1e-6
