from __future__ import annotations

from collections import Counter
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.core.telemetry.histogram import BOUNDS_MS, BUCKETS, bucket_of, percentile

latencies = st.lists(st.floats(0.1, BOUNDS_MS[-1], exclude_min=True), min_size=1, max_size=200)


def counts_of(values: list[float]) -> list[int]:
    found = Counter(map(bucket_of, values))
    return [found[i] for i in range(BUCKETS)]


@given(latencies, st.sampled_from([0.0, 0.5, 0.9, 0.95, 0.99, 1.0]))
def test_a_percentile_is_within_the_error_of_its_bucket(values: list[float], share: float) -> None:
    true = sorted(values)[max(0, ceil(share * len(values)) - 1)]
    estimate = percentile(counts_of(values), share)
    assert true / 1.4143 <= estimate <= true * 1.4143


@given(latencies)
def test_percentiles_rise_with_the_share(values: list[float]) -> None:
    counts = counts_of(values)
    found = [percentile(counts, share / 20) for share in range(21)]
    assert found == sorted(found)


def test_without_requests_there_is_no_latency() -> None:
    assert percentile([0] * BUCKETS, 0.5) == 0.0


def test_beyond_the_last_bound_the_last_bound_is_told() -> None:
    assert percentile(counts_of([10**9]), 0.5) == pytest.approx(BOUNDS_MS[-1])


def test_below_the_first_bound_an_estimate_is_not_above_it() -> None:
    assert 0 < percentile(counts_of([0.0, 0.01]), 0.5) <= BOUNDS_MS[0]
