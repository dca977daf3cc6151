"""Means whose observations come in clusters, and differences of such means.

A unit that is assigned to a variant makes many requests, which are alike: taken for independent they would make every
interval too narrow. So a mean is a ratio of sums over units, and its variance that of the units' residuals.
Source: Cochran, Sampling Techniques, 3rd ed. (1977), 2.11 and 6.4; Welch (1947); Hill (1970), ACM Algorithm 396.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

from ..contract.comparison import Estimate

FEWEST_UNITS = 6


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over requests of so many units, with the variance of the mean."""

    value: float
    units: int
    variance: float

    @property
    def sure(self) -> bool:
        """Whether there are units enough for an interval."""
        return self.units >= FEWEST_UNITS


def mean_of(observed: Iterable[tuple[str, float]]) -> Mean | None:
    """The mean of values by unit, None where there is none."""
    sums: defaultdict[str, float] = defaultdict(float)
    counts: defaultdict[str, int] = defaultdict(int)
    for unit, value in observed:
        sums[unit] += value
        counts[unit] += 1
    total = sum(counts.values())
    if not total:
        return None
    value, units = sum(sums.values()) / total, len(sums)
    if units < 2:
        return Mean(value, units, 0.0)
    residuals = sum((sums[unit] - value * counts[unit]) ** 2 for unit in sums)
    return Mean(value, units, residuals * units / (units - 1) / total**2)


def estimate(mean: Mean, confidence: float) -> Estimate:
    """The mean with its interval."""
    if not mean.sure:
        return Estimate(mean.value)
    half = quantile(1 - (1 - confidence) / 2, mean.units - 1) * sqrt(mean.variance)
    return Estimate(mean.value, mean.value - half, mean.value + half)


def difference(one: Mean, base: Mean, confidence: float, *, among: int = 1) -> Estimate:
    """How much larger `one` is; the interval holds with that confidence for `among` differences together
    (Bonferroni)."""
    found = one.value - base.value
    if not (one.sure and base.sure):
        return Estimate(found)
    variance = one.variance + base.variance
    half = 0.0
    if variance:
        parts = one.variance**2 / (one.units - 1) + base.variance**2 / (base.units - 1)
        half = quantile(1 - (1 - confidence) / 2 / among, variance**2 / parts) * sqrt(variance)
    return Estimate(found, found - half, found + half)


def quantile(share: float, freedom: float) -> float:
    """The quantile of Student's t, by the expansion about the normal one; within 1 % from 5 degrees of freedom up
    for shares up to 0.995."""
    z = NormalDist().inv_cdf(share)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92_160,
    )
    return z + sum(term / freedom ** (n + 1) for n, term in enumerate(terms))
