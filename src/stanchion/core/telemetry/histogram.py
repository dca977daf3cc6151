"""Latencies as counts in fixed buckets, so that minutes, routes and processes add up and percentiles follow.

The bounds grow by the square root of two from 0.1 ms to 74 s: an estimate is off by at most a factor of 1.42.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from math import ceil

BOUNDS_MS = tuple(0.1 * 2 ** (i / 2) for i in range(40))
BUCKETS = len(BOUNDS_MS) + 1


def bucket_of(milliseconds: float) -> int:
    """The bucket whose upper bound is the first at or above the value; the last bucket has none."""
    return bisect_left(BOUNDS_MS, milliseconds)


def percentile(counts: Sequence[int], share: float) -> float:
    """The value in milliseconds that `share` (0 to 1) of the counted latencies do not pass; 0 if there are none.

    By nearest rank, then geometrically inside the bucket. Beyond the last bound the last bound is given.
    """
    rank = max(1, ceil(share * sum(counts)))
    before = 0
    for bucket, count in enumerate(counts):
        if count and before + count >= rank:
            return _within(bucket, (rank - before) / count)
        before += count
    return 0.0


def _within(bucket: int, share: float) -> float:
    if bucket == 0:
        return BOUNDS_MS[0] * share
    lower, upper = BOUNDS_MS[bucket - 1], BOUNDS_MS[min(bucket, len(BOUNDS_MS) - 1)]
    return float(lower * (upper / lower) ** share)
