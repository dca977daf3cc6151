"""Intervals hold as often as they say, also where one unit makes many requests that are alike."""

from __future__ import annotations

import random
from itertools import repeat

import pytest

from stanchion.gateway.comparing.statistics import Mean, difference, estimate, mean_of, quantile

# Percentage points of Student's t, as any table has them.
STUDENT = {
    (0.975, 5): 2.571, (0.975, 10): 2.228, (0.975, 30): 2.042,
    (0.95, 5): 2.015, (0.995, 10): 3.169, (0.975, 1e9): 1.960,
}  # fmt: skip


@pytest.mark.parametrize(("place", "value"), STUDENT.items())
def test_quantiles_are_those_of_the_tables(place: tuple[float, float], value: float) -> None:
    assert quantile(*place) == pytest.approx(value, rel=0.01)


def observations(chance: random.Random, units: int, each: int, mean: float) -> list[tuple[str, float]]:
    """Requests of units that differ from each other more than their own requests do."""
    found = []
    for unit in range(units):
        own = chance.gauss(mean, 1)
        found += [(f"u{unit}", chance.gauss(own, 0.3)) for _ in range(chance.randint(1, 2 * each))]
    return found


@pytest.mark.parametrize(("units", "each"), [(8, 1), (12, 10), (60, 5)])
def test_the_interval_of_a_mean_covers_it_as_often_as_it_says(units: int, each: int) -> None:
    chance, covered, rounds = random.Random(7), 0, 1_000
    for _ in repeat(None, rounds):
        mean = mean_of(observations(chance, units, each, 3.0))
        assert mean is not None
        found = estimate(mean, 0.9)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 3.0 <= found.high
    assert 0.84 <= covered / rounds <= 0.94


def test_no_difference_is_decided_no_more_often_than_it_says() -> None:
    chance, decided, rounds = random.Random(11), 0, 600
    for _ in repeat(None, rounds):
        one, base = (mean_of(observations(chance, 20, 10, 3.0)) for _ in range(2))
        assert one is not None
        assert base is not None
        decided += difference(one, base, 0.95).decided
    assert decided / rounds <= 0.08


def test_a_large_difference_is_decided_and_a_wider_family_asks_for_more() -> None:
    one, base = Mean(5.0, 30, 0.01), Mean(3.0, 30, 0.01)
    single, among = difference(one, base, 0.95), difference(one, base, 0.95, among=5)
    assert single.decided
    assert single.low is not None
    assert among.low is not None
    assert among.low < single.low < single.mean == 2.0


def test_a_few_units_have_a_mean_and_no_interval() -> None:
    few = mean_of([("a", 1.0), ("b", 3.0), *[("b", 3.0)] * 100])
    assert few is not None
    assert estimate(few, 0.95).low is None
    assert not difference(few, few, 0.95).decided
    assert mean_of([]) is None
