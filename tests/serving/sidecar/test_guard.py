"""The guard band: a model's value passes only within it, counted in decimals as prices are."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from stanchion.core.errors import Misconfigured
from stanchion.serving import GuardBand
from stanchion.serving.sidecar.guard import judged

BAND = GuardBand(min_confidence=0.8, max_deviation=0.15)


@pytest.mark.parametrize(
    ("base", "value", "confidence", "reason"),
    [
        (100.0, 115.0, 0.9, "ai"),
        (0.2, 0.23, 0.9, "ai"),
        (0.2, 0.17, 0.9, "ai"),
        (100.0, 115.01, 0.9, "outside_band"),
        (100.0, 84.99, 0.9, "outside_band"),
        (100.0, 100.0, 0.8, "low_confidence"),
        (100.0, 100.0, 0.8000001, "ai"),
        (100.0, 500.0, 0.1, "low_confidence"),
        (0.0, 0.0, 0.9, "ai"),
        (0.0, 0.01, 0.9, "outside_band"),
        (-100.0, -110.0, 0.9, "ai"),
        (100.0, math.nan, 0.9, "error"),
        (100.0, math.inf, 0.9, "error"),
        (100.0, "110", 0.9, "error"),
        (100.0, True, 0.9, "error"),
        (100.0, None, 0.9, "error"),
        (100.0, 100.0, math.nan, "error"),
        (100.0, 100.0, None, "error"),
        ("red", "blue", 0.9, "error"),
    ],
)
def test_what_passes(base: Any, value: Any, confidence: Any, reason: str) -> None:
    assert judged(BAND, base, value, confidence, {}).reason == reason


cents = some.integers(1, 10_000_000).map(lambda n: n / 100)


@given(cents, cents, some.integers(0, 100).map(lambda n: n / 100))
def test_the_band_is_that_of_the_written_numbers(base: float, value: float, share: float) -> None:
    exact = abs(Decimal(str(value)) - Decimal(str(base))) <= Decimal(str(share)) * Decimal(str(base))
    found = judged(GuardBand(max_deviation=share), base, value, None, {})
    assert (found.reason == "ai") is exact


def test_words_pass_where_no_band_of_numbers_is_declared() -> None:
    assert judged(GuardBand(min_confidence=0.5), "red", "blue", 0.6, {}).reason == "ai"


def test_limits_and_a_check_of_ones_own() -> None:
    assert judged(GuardBand(lowest=10, highest=20), 15, 21, None, {}).reason == "outside_band"
    assert judged(GuardBand(lowest=10), 15, 9, None, {}).reason == "outside_band"
    even = GuardBand(check=lambda base, outcome: outcome["price"] % 2 == 0)  # type: ignore[operator]  # a number here
    assert judged(even, 15, 16, None, {"price": 16}).reason == "ai"
    assert judged(even, 15, 17, None, {"price": 17}).reason == "outside_band"
    assert judged(even, 15, 17, None, {}).reason == "outside_band", "a check that fails has allowed nothing"


@pytest.mark.parametrize("given_", [{"max_deviation": -0.1}, {"max_deviation": math.nan}, {"lowest": 2, "highest": 1}])
def test_a_band_that_makes_no_sense_is_refused(given_: Any) -> None:
    with pytest.raises(Misconfigured):
        GuardBand(**given_)
