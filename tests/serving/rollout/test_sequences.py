"""The bounds hold at every look, by simulation, and find what is there."""

from __future__ import annotations

import random
from collections.abc import Iterator
from math import log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stanchion.serving.rollout import sequences
from stanchion.serving.rollout.sequences import Interval, Moments

ALPHA = 0.05
counts = st.integers(0, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def looks(chance: random.Random, first: float, second: float, *, share: float, calls: int) -> Iterator[list[int]]:
    """Hits and numbers of two arms after every tenth call."""
    seen = [0, 0, 0, 0]
    for call in range(1, calls + 1):
        arm = 0 if chance.random() < share else 2
        seen[arm] += chance.random() < (first if arm == 0 else second)
        seen[arm + 1] += 1
        if call % 10 == 0:
            yield seen


@pytest.mark.parametrize(("rate", "share"), [(0.02, 0.1), (0.3, 0.5)])
def test_equal_rates_are_hardly_ever_told_apart_however_often_somebody_looks(rate: float, share: float) -> None:
    chance = random.Random(7)
    wrong = 0
    for _ in range(100):
        for seen in looks(chance, rate, rate, share=share, calls=1000):
            found = sequences.rate_difference(*seen, ALPHA)
            if not found.low <= 0 <= found.high:
                wrong += 1
                break
    assert wrong <= 100 * ALPHA


def test_a_worse_rate_is_found_within_some_hundred_calls() -> None:
    chance = random.Random(8)
    needed = []
    for _ in range(40):
        found = (seen[1] for seen in looks(chance, 0.2, 0.02, share=0.2, calls=4000)
                 if sequences.rate_difference(*seen, ALPHA).low > 0.01)  # fmt: skip
        needed.append(next(found, 10**6))
    assert sorted(needed)[20] < 150
    assert max(needed) < 800


def moments(values: list[float]) -> Moments:
    return Moments(len(values), sum(values), sum(value * value for value in values))


def race(chance: random.Random, shift: float, *, calls: int, heavy: bool) -> Iterator[tuple[Moments, Moments]]:
    """Two arms of logarithms of seconds after every tenth pair, from the thirtieth on."""
    one, other = Moments(), Moments()
    for call in range(1, calls + 1):
        # A latency's logarithm has a heavy right tail: a normal core and an exponential now and then.
        x, y = (chance.gauss(0, 0.3) + (chance.expovariate(1) if heavy else 0) for _ in range(2))
        one += Moments(1, x + shift, (x + shift) ** 2)
        other += Moments(1, y, y * y)
        if call >= 30 and call % 10 == 0:
            yield one, other


@pytest.mark.parametrize("heavy", [False, True])
def test_equal_means_are_hardly_ever_told_apart(heavy: bool) -> None:
    chance = random.Random(9)
    wrong = 0
    for _ in range(150):
        for one, other in race(chance, 0.0, calls=600, heavy=heavy):
            found = sequences.mean_difference(one, other, ALPHA, scale=log(1.25))
            if not found.low <= 0 <= found.high:
                wrong += 1
                break
    assert wrong <= 150 * ALPHA


def test_a_slower_arm_is_found() -> None:
    chance = random.Random(10)
    needed = []
    for _ in range(40):
        found = (one.n for one, other in race(chance, log(2), calls=2000, heavy=True)
                 if sequences.mean_difference(one, other, ALPHA, scale=log(1.25)).low > log(1.25))  # fmt: skip
        needed.append(next(found, 10**6))
    assert sorted(needed)[20] < 200
    assert max(needed) < 800


def test_a_split_as_declared_is_hardly_ever_doubted_and_a_broken_one_is_found() -> None:
    chance = random.Random(11)
    wrong = 0
    for _ in range(150):
        hits = 0
        for unit in range(1, 1001):
            hits += chance.random() < 0.2
            if unit % 20 == 0 and sequences.ratio_p_value([(hits, unit - hits)], 0.2) < ALPHA:
                wrong += 1
                break
    assert wrong <= 150 * ALPHA
    assert sequences.ratio_p_value([(600, 1400)], 0.2) < 1e-6
    assert sequences.ratio_p_value([], 0.2) == 1.0
    assert sequences.ratio_p_value([(200, 800), (201, 799)], 0.2) > 0.5


def test_equal_distributions_are_hardly_ever_told_apart_and_a_shift_is_found() -> None:
    chance = random.Random(12)
    wrong = found = 0
    for run in range(60):
        one, other = [0] * 20, [0] * 20
        for call in range(1, 801):
            one[int(chance.betavariate(2, 5 if run % 2 else 2) * 20)] += 1
            other[int(chance.betavariate(2, 5) * 20)] += 1
            if call % 40 == 0 and sequences.distance(one, other, ALPHA).low > 0.1:
                wrong, found = (wrong + 1, found) if run % 2 else (wrong, found + 1)
                break
    assert wrong == 0
    assert found == 30


@given(counts, st.floats(1e-4, 0.4))
@settings(max_examples=60, deadline=None)
def test_an_interval_holds_what_was_seen_and_narrows_with_alpha(seen: tuple[int, int], alpha: float) -> None:
    hits, n = seen
    wide, narrow = sequences.rate_interval(hits, n, alpha / 2), sequences.rate_interval(hits, n, alpha)
    assert 0 <= wide.low <= narrow.low <= narrow.high <= wide.high <= 1
    assert n == 0 or narrow.low <= hits / n <= narrow.high


@given(counts, counts)
@settings(max_examples=60, deadline=None)
def test_the_p_value_is_the_least_alpha_that_parts_the_intervals(one: tuple[int, int], other: tuple[int, int]) -> None:
    p_value = sequences.rate_p_value(*one, *other)
    assert 0 <= p_value <= 1
    if 1e-200 < p_value < 0.99:
        parted = sequences.rate_difference(*one, *other, p_value * 1.01)
        joined = sequences.rate_difference(*one, *other, p_value * 0.99)
        assert parted.low > 0 or parted.high < 0
        assert joined.low <= 0 <= joined.high


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=50), st.lists(st.floats(-5, 5), min_size=2, max_size=50))
@settings(max_examples=60, deadline=None)
def test_what_two_processes_saw_adds_up(one: list[float], other: list[float]) -> None:
    both, together = moments(one) + moments(other), moments(one + other)
    assert both.n == together.n
    assert both.mean == pytest.approx(together.mean, abs=1e-9)
    assert both.variance == pytest.approx(together.variance, abs=1e-6)


def test_nothing_seen_is_nothing_known() -> None:
    assert sequences.rate_interval(0, 0, ALPHA) == Interval(0.0, 1.0)
    assert sequences.rate_difference(0, 0, 1, 5, ALPHA).low < 0
    assert sequences.rate_p_value(0, 0, 0, 0) == 1.0
    assert sequences.mean_p_value(Moments(), Moments(), scale=1.0) == 1.0
    assert sequences.mean_difference(Moments(), Moments(), ALPHA, scale=1.0) == (float("-inf"), float("inf"))
    assert sequences.distance([0, 0], [0, 0], ALPHA) == Interval(0.0, 1.0)
    assert sequences.observed_distance([0, 0], [1, 0]) == 0.0
