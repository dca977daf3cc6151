"""Detectors: what is usual scores low, what is not scores high, and a state that is put away goes on as it was."""

from __future__ import annotations

import math
import random
import statistics

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.core.errors import Misconfigured
from stanchion.events.streams.detectors.detector import Detector, vector
from stanchion.events.streams.detectors.ewma import Ewma
from stanchion.events.streams.detectors.robust import RobustZ
from stanchion.events.streams.detectors.trees import HalfSpaceTrees

ONE: list[Detector] = [Ewma("x", warm=50), RobustZ("x", memory=200, warm=50)]
TREES = HalfSpaceTrees({"x": (0, 1), "y": (0, 1)}, window=100)


@pytest.mark.parametrize("detector", ONE, ids=["ewma", "robust"])
def test_a_jump_stands_out_and_noise_does_not(detector: Detector) -> None:
    chance = random.Random(3)
    scorer = detector.scorer()
    scores = [scorer.score([chance.gauss(20, 2)]) for _ in range(500)]
    assert scores[:50] == [None] * 50
    usual = [score for score in scores if score is not None]
    assert sum(score >= detector.threshold for score in usual) <= 2
    far = scorer.score([60.0])
    assert far is not None and far > detector.threshold


def test_the_robust_score_is_the_distance_from_the_median_in_median_deviations() -> None:
    values = [1.0, 2.0, 4.0, 4.5, 9.0]
    scorer = RobustZ("x", memory=5, warm=5).scorer()
    for value in values:
        assert scorer.score([value]) is None
    middle = statistics.median(values)
    spread = 1.4826 * statistics.median(abs(v - middle) for v in values)
    assert scorer.score([12.0]) == pytest.approx((12 - middle) / spread)


@given(
    values=st.lists(st.one_of(st.integers(-3, 3).map(float), st.floats(-1e9, 1e9)), max_size=40),
    memory=st.integers(2, 12),
)
def test_the_robust_score_is_by_the_last_values_and_no_others(values: list[float], memory: int) -> None:
    scorer = RobustZ("x", memory=memory, warm=2).scorer()
    for number, value in enumerate(values):
        before = values[max(0, number - memory) : number]
        found = scorer.score([value])
        if len(before) < 2:
            assert found is None
            continue
        middle = statistics.median(before)
        spread = 1.4826 * statistics.median([abs(each - middle) for each in before])
        assert found == abs(value - middle) / max(spread, 1e-9)


def test_a_few_outliers_do_not_move_the_robust_score() -> None:
    chance = random.Random(5)
    clean, dirty = (RobustZ("x", memory=300, warm=100).scorer() for _ in range(2))
    for number in range(300):
        value = chance.gauss(0, 1)
        clean.score([value])
        dirty.score([1000.0 if number % 20 == 0 else value])
    a, b = clean.score([5.0]), dirty.score([5.0])
    assert a is not None and b is not None and abs(a - b) < 0.2 * a


def test_trees_give_a_high_score_where_no_rows_have_been_and_a_low_one_where_many_are() -> None:
    chance = random.Random(1)
    scorer = TREES.scorer()
    for number in range(400):
        score = scorer.score([chance.gauss(0.3, 0.03), chance.gauss(0.7, 0.03)])
        assert (score is None) == (number < 100)
    usual, odd = scorer.score([0.3, 0.7]), scorer.score([0.9, 0.1])
    assert usual is not None and odd is not None
    assert usual < 0.1 and odd > TREES.threshold


def test_trees_learn_a_new_place_within_two_windows() -> None:
    scorer = TREES.scorer()
    for _ in range(200):
        scorer.score([0.3, 0.7])
    first = scorer.score([0.9, 0.1])
    for _ in range(200):
        scorer.score([0.9, 0.1])
    later = scorer.score([0.9, 0.1])
    assert first is not None and later is not None and first > 0.9 and later < 0.1


@pytest.mark.parametrize("detector", [*ONE, TREES], ids=["ewma", "robust", "trees"])
def test_a_state_that_is_put_away_and_taken_up_again_scores_as_if_nothing_had_been(detector: Detector) -> None:
    chance = random.Random(9)
    rows = [[chance.random() for _ in detector.columns] for _ in range(320)]
    whole, parts = detector.scorer(), detector.scorer()
    for row in rows:
        parts = detector.scorer(msgspec.msgpack.decode(msgspec.msgpack.encode(parts.kept())))
        assert whole.score(row) == parts.score(row)


def test_constant_values_are_no_division_by_nothing() -> None:
    for detector in ONE:
        scorer = detector.scorer()
        found = [scorer.score([7.0]) for _ in range(100)][-1]
        assert found == 0
        odd = scorer.score([8.0])
        assert odd is not None and math.isfinite(odd)


def test_a_row_without_a_finite_number_is_not_judged() -> None:
    assert vector(["x"], {"x": 1}) == [1.0]
    for bad in (None, "1", float("nan"), float("inf")):
        assert vector(["x"], {"x": bad}) is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: Ewma("x", fast=0),
        lambda: RobustZ("x", memory=10, warm=20),
        lambda: HalfSpaceTrees({"x": (1, 1)}),
        lambda: HalfSpaceTrees({"x": (0, 1)}, depth=30),
    ],
)
def test_settings_that_make_no_sense_are_refused(make) -> None:
    with pytest.raises(Misconfigured):
        make()
