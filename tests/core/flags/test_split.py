from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.core.errors import InvalidInput
from stanchion.core.flags import bucket, choose

GOLDEN = {
    ("checkout", "user-1"): 81885,
    ("checkout", "user-2"): 54623,
    ("", "a"): 71771,
    ("a", ""): 72641,
    ("ärger", "日本"): 23208,
    ("1:a", "b"): 99224,
}


@pytest.mark.parametrize(("pair", "point"), GOLDEN.items())
def test_points_never_change(pair, point):
    assert bucket(*pair) == point


def test_points_do_not_depend_on_the_process():
    code = "from stanchion.core.flags import bucket; print(bucket('checkout', 'user-1'))"
    for seed in ("1", "2"):
        out = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        )
        assert int(out.stdout) == GOLDEN["checkout", "user-1"]


def chi_square(counts, expected):
    return sum((count - expected) ** 2 / expected for count in counts)


@pytest.mark.parametrize("salt", ["a", "b", "checkout-2026", ""])
def test_points_are_uniform(salt):
    counts = Counter(bucket(salt, f"user-{n}") // 1000 for n in range(50_000))
    # 99 degrees of freedom: above 148 once in a thousand salts.
    assert chi_square([counts[n] for n in range(100)], 500) < 148


def test_salts_are_independent_of_each_other():
    counts = Counter((bucket("one", str(n)) // 10_000, bucket("two", str(n)) // 10_000) for n in range(50_000))
    assert chi_square([counts[i, j] for i in range(10) for j in range(10)], 500) < 148


def test_shares_are_met():
    counts = Counter(choose("s", str(n), {"a": 1, "b": 2, "c": 7}) for n in range(20_000))
    assert counts["a"] == pytest.approx(2000, rel=0.1)
    assert counts["b"] == pytest.approx(4000, rel=0.1)


def test_a_unit_in_ten_percent_stays_in_twenty():
    units = [str(n) for n in range(5_000)]
    small = {u for u in units if choose("s", u, {"new": 10, "old": 90}) == "new"}
    large = {u for u in units if choose("s", u, {"new": 20, "old": 80}) == "new"}
    assert small < large


WEIGHTS = st.dictionaries(st.text(max_size=3), st.integers(0, 100), min_size=1, max_size=5)


@given(WEIGHTS.filter(lambda w: sum(w.values()) > 0), st.data(), st.booleans())
def test_no_unit_leaves_the_one_share_that_grows(weights, data, of_a_fixed_whole):
    grown = data.draw(st.sampled_from(sorted(weights)))
    after = dict(weights)
    if of_a_fixed_whole:
        others = {name: st.integers(0, w) for name, w in weights.items() if name != grown}
        after |= data.draw(st.fixed_dictionaries(others))
        after[grown] += sum(weights.values()) - sum(after.values())
    else:
        after[grown] += data.draw(st.integers(0, 200))
    for unit in map(str, range(50)):
        if choose("s", unit, weights) == grown:
            assert choose("s", unit, after) == grown


@given(WEIGHTS.filter(lambda w: sum(w.values()) > 0), st.text())
def test_the_order_of_the_mapping_does_not_matter_and_empty_shares_are_never_chosen(weights, unit):
    chosen = choose("s", unit, weights)
    assert choose("s", unit, dict(reversed(weights.items()))) == chosen
    assert weights[chosen] > 0


@pytest.mark.parametrize("shares", [{}, {"a": 0}, {"a": -1, "b": 2}, {"a": float("nan")}, {"a": float("inf")}])
def test_shares_that_make_no_sense_are_refused(shares):
    with pytest.raises(InvalidInput):
        choose("s", "u", shares)
