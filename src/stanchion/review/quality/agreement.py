"""Agreement between raters beyond chance: Cohen's kappa, Fleiss' kappa, Krippendorff's alpha.

The tests hold these to published worked examples: the table of 50 grant proposals (kappa 0.4, Wikipedia, "Cohen's
kappa"), Cohen 1960, the 10 subjects of 14 raters (kappa 0.210, Wikipedia, "Fleiss' kappa"), and the examples A, B and C
of K. Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011 (0.095, 0.692; 0.743 nominal, 0.815 ordinal,
0.849 interval).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Literal, TypeVar

from ...core.errors import InvalidInput

T = TypeVar("T", bound=Hashable)
Level = Literal["nominal", "ordinal", "interval"]


def cohen_kappa(one: Sequence[T], other: Sequence[T]) -> float | None:
    """Two raters' agreement on the same items, in the same order; None without items, or where chance alone is 1.

    Raises InvalidInput if the lengths differ. Source: J. Cohen, "A coefficient of agreement for nominal scales",
    Educational and Psychological Measurement 20 (1960).
    """
    if len(one) != len(other):
        raise InvalidInput("two raters must have rated the same items")
    number = len(one)
    if not number:
        return None
    observed = sum(a == b for a, b in zip(one, other, strict=True)) / number
    left, right = Counter(one), Counter(other)
    expected = sum(left[label] * right[label] for label in left) / number**2
    return None if expected == 1 else (observed - expected) / (1 - expected)


def fleiss_kappa(counts: Sequence[Sequence[int]]) -> float | None:
    """Agreement of as many raters on each item; a row holds how many of them chose each category.

    None without items, with fewer than two raters, or where all chose one category. Raises InvalidInput if rows have
    different numbers of ratings. Source: J. L. Fleiss, "Measuring nominal scale agreement among many raters",
    Psychological Bulletin 76 (1971).
    """
    if not counts:
        return None
    raters = sum(counts[0])
    if any(sum(row) != raters or len(row) != len(counts[0]) for row in counts):
        raise InvalidInput("every item must have as many ratings, over the same categories")
    if raters < 2:
        return None
    observed = sum((sum(n * n for n in row) - raters) / (raters * (raters - 1)) for row in counts) / len(counts)
    shares = [sum(column) / (len(counts) * raters) for column in zip(*counts, strict=True)]
    expected = sum(share * share for share in shares)
    return None if expected == 1 else (observed - expected) / (1 - expected)


def krippendorff_alpha(units: Sequence[Sequence[T]], *, level: Level = "nominal") -> float | None:
    """Agreement of any number of raters, of whom some may be missing; a unit holds the values it was given.

    For `ordinal` and `interval` values are numbers. None where fewer than two values can be paired, or all are equal.
    Source: K. Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011.
    """
    paired = [list(unit) for unit in units if len(unit) > 1]
    totals = Counter(value for unit in paired for value in unit)
    number = sum(totals.values())
    if len(totals) < 2:
        return None
    distance = _distance(level, totals)
    observed = sum(
        distance(a, b) / (len(unit) - 1) for unit in paired for i, a in enumerate(unit) for b in unit[i + 1 :]
    )
    values = list(totals)
    expected = sum(totals[a] * totals[b] * distance(a, b) for i, a in enumerate(values) for b in values[i + 1 :]) / (
        number - 1
    )
    return 1 - observed / expected


def _distance(level: Level, totals: Mapping[T, int]) -> Callable[[T, T], float]:
    """The squared difference of two values on a scale of that level."""
    if level == "nominal":
        return lambda a, b: float(a != b)
    numbers: dict[T, float] = {value: float(value) for value in totals if isinstance(value, int | float)}
    if len(numbers) != len(totals):
        raise InvalidInput(f"values of the level {level} are numbers")
    if level == "interval":
        return lambda a, b: (numbers[a] - numbers[b]) ** 2

    def ordinal(a: T, b: T) -> float:
        low, high = sorted((numbers[a], numbers[b]))
        between = sum(totals[value] for value in numbers if low <= numbers[value] <= high)
        return (between - (totals[a] + totals[b]) / 2) ** 2

    return ordinal
