from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.core.errors import CircuitOpen, Misconfigured, Throttled, Unavailable
from stanchion.core.resilience import Breaker, BreakerRules


def breaker(clock, *, draw=lambda: 0.0, on_change=None, **rules):
    return Breaker("upstream", clock=clock, rules=BreakerRules(**rules), draw=draw, on_change=on_change)


def fail(b, times=1, error=None):
    for _ in range(times):
        b.fail(b.admit(), error)


def succeed(b, times=1):
    for _ in range(times):
        b.succeed(b.admit())


def offer(b, times):
    """How many of `times` calls are admitted, each succeeding at once."""
    admitted = 0
    for _ in range(times):
        try:
            b.succeed(b.admit())
        except CircuitOpen:
            continue
        admitted += 1
    return admitted


def test_failures_in_a_row_open_it(clock):
    b = breaker(clock, consecutive=3)
    fail(b, 2)
    succeed(b)
    fail(b, 2)
    assert b.snapshot().state == "closed"
    fail(b)
    assert b.snapshot().state == "open"
    with pytest.raises(CircuitOpen) as refused:
        b.admit()
    assert refused.value.retry_after == 5.0


def test_the_failure_ratio_opens_it_only_after_enough_calls(clock):
    b = breaker(clock, consecutive=100, minimum=10, failure_ratio=0.5)
    for _ in range(4):
        fail(b)
        succeed(b)
    succeed(b)
    assert b.snapshot().state == "closed"
    fail(b)
    assert b.snapshot().state == "open"


def test_failures_older_than_the_window_are_forgotten(clock):
    b = breaker(clock, consecutive=100, minimum=4, window=30.0)
    fail(b, 3)
    clock.advance(31)
    succeed(b, 2)
    fail(b)
    assert (b.snapshot().state, b.snapshot().calls) == ("closed", 3)


def test_slow_calls_open_it_though_they_succeed(clock):
    b = breaker(clock, slow=2.0, slow_ratio=0.5, minimum=4)
    for _ in range(4):
        permit = b.admit()
        clock.advance(2.0)
        b.succeed(permit)
    assert b.snapshot().state == "open"


def test_it_stays_open_as_long_as_the_peer_asked(clock):
    b = breaker(clock, consecutive=1, open_seconds=5.0)
    fail(b, error=Throttled(retry_after=60))
    clock.advance(59)
    with pytest.raises(CircuitOpen) as refused:
        b.admit()
    assert refused.value.retry_after == pytest.approx(1)
    clock.advance(1)
    b.admit()
    assert b.snapshot().state == "half-open"


def test_an_absurd_retry_after_is_cut(clock):
    b = breaker(clock, consecutive=1)
    fail(b, error=Throttled(retry_after=1e12))
    assert b.snapshot().retry_after == 3600


def test_half_open_admits_a_trickle_and_one_failed_probe_opens_again_for_longer(clock):
    b = breaker(clock, consecutive=1, probes=2, open_seconds=5, growth=2)
    fail(b)
    clock.advance(5)
    first, _second = b.admit(), b.admit()
    with pytest.raises(CircuitOpen):
        b.admit()
    b.fail(first)
    view = b.snapshot()
    assert (view.state, view.retry_after, view.opens) == ("open", 10.0, 2)


def test_the_open_time_grows_with_jitter_up_to_its_maximum(clock):
    b = breaker(clock, draw=lambda: 1.0, consecutive=1, open_seconds=10, open_maximum=30, jitter=0.2)
    waits = []
    for _ in range(4):
        fail(b)
        waits.append(b.snapshot().retry_after)
        clock.advance(waits[-1])
    assert waits == pytest.approx([12, 24, 30, 30])


def half_open(b, clock):
    fail(b, b.rules.consecutive)
    clock.advance(b.snapshot().retry_after)
    return b


def test_traffic_is_restored_in_counted_steps(clock):
    seen = []
    b = breaker(clock, consecutive=1, probe_successes=3, step_calls=10, on_change=lambda v: seen.append(v))
    half_open(b, clock)
    succeed(b, 3)
    assert (b.snapshot().state, b.snapshot().share) == ("restoring", 10)
    offered = {}
    while (share := b.snapshot().share) < 100:
        offer(b, 1)
        offered[share] = offered.get(share, 0) + 1
    assert offered == {10: 91, 25: 37, 50: 19}
    assert [(v.state, v.share) for v in seen] == [
        ("open", 0),
        ("half-open", 0),
        ("restoring", 10),
        ("restoring", 25),
        ("restoring", 50),
        ("closed", 100),
    ]


def test_a_quiet_part_is_restored_by_time(clock):
    b = half_open(breaker(clock, consecutive=1, probe_successes=1, step_calls=1000, step_seconds=10), clock)
    succeed(b)
    for _ in range(3):
        clock.advance(10)
        while offer(b, 1) == 0:
            pass
    assert b.snapshot().state == "closed"


def test_renewed_failures_while_restoring_open_it_again(clock):
    b = half_open(breaker(clock, consecutive=1, probe_successes=1, step_failures=2), clock)
    succeed(b)
    failed = 0
    while b.snapshot().state == "restoring":
        try:
            fail(b)
            failed += 1
        except CircuitOpen:
            continue
    assert (b.snapshot().state, failed) == ("open", 2)


def test_calls_from_before_the_change_say_nothing_about_the_recovery(clock):
    b = breaker(clock, consecutive=1)
    old, slow = b.admit(), b.admit()
    half_open(b, clock)
    probe = b.admit()
    b.fail(old)
    b.succeed(slow)
    assert b.snapshot().state == "half-open"
    b.succeed(probe)


def test_a_permit_counts_once(clock):
    b = breaker(clock, consecutive=2)
    permit = b.admit()
    b.fail(permit)
    b.fail(permit)
    b.release(permit)
    assert (b.snapshot().calls, b.snapshot().state) == (1, "closed")


def test_a_cancelled_probe_frees_its_place(clock):
    b = half_open(breaker(clock, consecutive=1, probes=1), clock)
    for _ in range(5):
        b.release(b.admit())
    assert b.snapshot().state == "half-open"


def test_a_probe_that_never_returns_does_not_hold_it_half_open(clock):
    b = half_open(breaker(clock, consecutive=1, probes=1, probe_seconds=60), clock)
    b.admit()
    clock.advance(60)
    with pytest.raises(CircuitOpen):
        b.admit()
    assert b.snapshot().state == "open"
    clock.advance(b.snapshot().retry_after)
    b.admit()


def test_a_failing_listener_does_not_fail_the_call(clock):
    def broken(view):
        raise RuntimeError

    fail(breaker(clock, consecutive=1, on_change=broken))


async def stream(*items, error=None):
    for item in items:
        yield item
    if error:
        raise error


async def test_a_complete_stream_is_a_success(clock):
    b = breaker(clock)
    watched = b.watch(b.admit(), stream(1, 2, "end"), complete=lambda item: item == "end")
    assert [item async for item in watched] == [1, 2, "end"]
    assert (b.snapshot().calls, b.snapshot().failure_ratio) == (1, 0.0)


@pytest.mark.parametrize("error", [None, ConnectionResetError()])
async def test_a_truncated_stream_is_a_failure(clock, error):
    b = breaker(clock)
    with pytest.raises((Unavailable, ConnectionResetError)):
        async for _ in b.watch(b.admit(), stream(1, 2, error=error), complete=lambda item: item == "end"):
            pass
    assert b.snapshot().failure_ratio == 1.0


async def test_a_reader_who_stops_early_counts_neither_way(clock):
    b = breaker(clock)
    source = stream(1, 2)
    watched = b.watch(b.admit(), source, complete=lambda item: False)
    assert await anext(watched) == 1
    await watched.aclose()
    assert b.snapshot().calls == 0
    with pytest.raises(StopAsyncIteration):
        await anext(source)


@pytest.mark.parametrize("wrong", [{"minimum": 0}, {"failure_ratio": 0}, {"slow_ratio": 2}, {"open_seconds": 0}])
def test_rules_that_make_no_sense_are_refused(wrong):
    with pytest.raises(Misconfigured):
        BreakerRules(**wrong)


@given(
    st.lists(st.sampled_from(["admit", "succeed", "fail", "release", "tick"]), max_size=200),
    st.integers(1, 3),
)
def test_half_open_never_has_more_than_the_trickle_running(new_clock, events, probes):
    clock = new_clock()
    b = breaker(clock, consecutive=2, probes=probes, probe_successes=4, open_seconds=3, step_calls=2)
    running = []
    for event in events:
        if event == "tick":
            clock.advance(1)
        elif event == "admit":
            try:
                running.append(b.admit())
            except CircuitOpen:
                continue
        elif running:
            getattr(b, event)(running.pop(0))
        view = b.snapshot()
        if view.state == "half-open":
            assert sum(p.generation == b._generation for p in running) <= probes
        assert 0 <= view.failure_ratio <= 1
