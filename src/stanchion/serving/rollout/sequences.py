"""Statistics that stay valid however often they are looked at, from counts and sums alone.

A fixed-sample test that is looked at after every request finds a difference sooner or later where there is none.
Here a bound holds at all moments at once: the chance that it is ever wrong is at most `alpha` (Ville's inequality).
All need sums only and no order, so that what several processes have counted can simply be added.

Sources: H. Robbins, "Statistical methods related to the law of the iterated logarithm", 1970 (mixtures); S. Howard,
A. Ramdas, J. McAuliffe, J. Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences", 2021; R. Johari,
L. Pekelis, D. Walsh, "Always valid inference", 2015 (p-values); M. Lindon, A. Malek, "Anytime-valid inference for
multinomial count data", 2022 (sample ratio).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, inf, lgamma, log, sqrt
from typing import NamedTuple

_HALVINGS = 40
# Jeffreys' prior: of the Beta mixtures the one that is tight for rare events too.
_A = _B = 0.5


class Interval(NamedTuple):
    """What a value lies between, both ends included."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Moments:
    """Number, sum and sum of squares of observations."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.n + other.n, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> float:
        """The mean, 0 of nothing."""
        return self.total / self.n if self.n else 0.0

    @property
    def variance(self) -> float:
        """The unbiased variance, 0 of fewer than two."""
        if self.n < 2:
            return 0.0
        return max(0.0, (self.squares - self.total * self.total / self.n) / (self.n - 1))


def rate_interval(hits: int, n: int, alpha: float) -> Interval:
    """What a probability lies between, from `hits` of `n`: exact for every n, at all n at once."""
    if n == 0:
        return Interval(0.0, 1.0)
    bound = -log(alpha)
    peak = hits / n

    def outside(p: float) -> bool:
        return beta_evidence(hits, n, p) >= bound

    return Interval(
        0.0 if hits == 0 else _edge(outside, 0.0, peak, out_first=True),
        1.0 if hits == n else _edge(outside, peak, 1.0, out_first=False),
    )


def beta_evidence(hits: int, n: int, p: float) -> float:
    """The log of the evidence against the probability being `p`; a test martingale, so exp of it is an e-value."""
    misses = n - hits
    if (p <= 0.0 and hits) or (p >= 1.0 and misses):
        return inf
    likelihood = (hits * log(p) if hits else 0.0) + (misses * log(1 - p) if misses else 0.0)
    return _log_beta(_A + hits, _B + misses) - _log_beta(_A, _B) - likelihood


def rate_difference(hits: int, n: int, other_hits: int, other_n: int, alpha: float) -> Interval:
    """What the first probability minus the other lies between; exact, each side at half of `alpha`."""
    one, other = rate_interval(hits, n, alpha / 2), rate_interval(other_hits, other_n, alpha / 2)
    return Interval(one.low - other.high, one.high - other.low)


def rate_p_value(hits: int, n: int, other_hits: int, other_n: int) -> float:
    """The always-valid p-value of equal probabilities: the least alpha at which the two intervals part."""
    if n == 0 or other_n == 0 or hits * other_n == other_hits * n:
        return 1.0

    def parted(alpha: float) -> bool:
        found = rate_difference(hits, n, other_hits, other_n, alpha)
        return found.low > 0 or found.high < 0

    low, high = -700.0, 0.0
    if not parted(exp(high - 1e-9)):
        return 1.0
    if parted(exp(low)):
        return exp(low)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if parted(exp(middle)) else (middle, high)
    return exp(high)


def mean_difference(one: Moments, other: Moments, alpha: float, *, scale: float) -> Interval:
    """What the first mean minus the other lies between; asymptotic: trust it from some dozens of each on.

    The estimated difference is Brownian motion in the information 1 / variance, for any order of arrival (C. Jennison
    and B. Turnbull, 1999), so Robbins' normal mixture holds. It is tightest for differences about as large as
    `scale`, which must be chosen beforehand.
    """
    variance = _variance(one, other)
    if variance == inf:
        return Interval(-inf, inf)
    wide = scale * scale
    spread = variance * (variance + wide) / wide
    radius = sqrt(spread * (2 * -log(alpha) + log((variance + wide) / variance))) if variance else 0.0
    difference = one.mean - other.mean
    return Interval(difference - radius, difference + radius)


def mean_p_value(one: Moments, other: Moments, *, scale: float) -> float:
    """The always-valid p-value of equal means, of the same mixture."""
    variance = _variance(one, other)
    difference = one.mean - other.mean
    if variance == inf:
        return 1.0
    if variance == 0.0:
        return 1.0 if difference == 0 else 0.0
    wide = scale * scale
    evidence = wide * difference**2 / (2 * variance * (variance + wide)) - log((variance + wide) / variance) / 2
    return min(1.0, exp(-evidence))


def distance(one: Sequence[int], other: Sequence[int], alpha: float) -> Interval:
    """What the Kolmogorov distance of two distributions over the same bins lies between; exact.

    The share below each edge is a rate of its own, with its part of `alpha`; the distance is their greatest gap.
    """
    edges = len(one) - 1
    n, other_n = sum(one), sum(other)
    if n == 0 or other_n == 0 or edges < 1:
        return Interval(0.0, 1.0)
    low = high = 0.0
    below = other_below = 0
    for edge in range(edges):
        below, other_below = below + one[edge], other_below + other[edge]
        gap = rate_difference(below, n, other_below, other_n, alpha / edges)
        low = max(low, gap.low, -gap.high)
        high = max(high, gap.high, -gap.low)
    return Interval(low, high)


def observed_distance(one: Sequence[int], other: Sequence[int]) -> float:
    """The Kolmogorov distance of two samples over the same bins, 0 where one is empty."""
    n, other_n = sum(one), sum(other)
    if n == 0 or other_n == 0:
        return 0.0
    gap = worst = 0.0
    for mine, theirs in zip(one, other, strict=True):
        gap += mine / n - theirs / other_n
        worst = max(worst, abs(gap))
    return worst


def ratio_p_value(counts: Sequence[tuple[int, int]], share: float) -> float:
    """The always-valid p-value of units landing in the first of two arms with probability `share`.

    One pair of counts for each process that counted: a unit may have been seen by several, so their evidence is
    averaged, which holds whatever they have in common, and not added up.
    """
    evidence = [beta_evidence(first, first + second, share) for first, second in counts if first + second]
    if not evidence:
        return 1.0
    most = max(evidence)
    if most == inf:
        return 0.0
    mean = most + log(sum(exp(each - most) for each in evidence) / len(evidence))
    return min(1.0, exp(-mean))


def _variance(one: Moments, other: Moments) -> float:
    """Of the difference of the means; infinite while it cannot be told."""
    if one.n < 2 or other.n < 2:
        return inf
    return one.variance / one.n + other.variance / other.n


def _edge(outside: Callable[[float], bool], low: float, high: float, *, out_first: bool) -> float:
    """Where `outside` changes between the two; of the last bracket the end that is outside, so never too tight."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if outside(middle) == out_first else (low, middle)
    return low if out_first else high


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)
