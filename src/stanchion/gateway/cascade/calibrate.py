"""Finds the thresholds of a cascade that keep a quality floor, on labelled examples, and what they save.

The cheapest thresholds that look good on a sample are good by luck as often as not. They are therefore tested in a
fixed order from "always ask the best model" downwards, each by an exact binomial test, until one fails: the
probability that the chosen ones miss the floor is at most 1 - confidence, however many were tried.
Source: A. Angelopoulos et al., "Learn then test", 2021 (fixed sequence testing).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

from ...core.errors import InvalidInput
from ..contract.cascade import Calibration, Point, Trial

_STEPS = 50
_LEAST = 20
# No score reaches it. It is a number that JSON can hold, as infinity is not.
NEVER = sys.float_info.max


def points(trials: Sequence[Trial], *, confidence: float = 0.95) -> Sequence[Point]:
    """Every setting that is tried, from "always the last step" to "always the first". Raises InvalidInput."""
    _check(trials)
    return [_point(trials, kept / _STEPS, confidence) for kept in range(_STEPS + 1)]


def calibrate(trials: Sequence[Trial], *, floor: float, confidence: float = 0.95) -> Calibration:
    """The cheapest thresholds that keep the floor. Raises InvalidInput where the last step's own answers do not."""
    if not 0 < floor < 1 or not 0.5 <= confidence < 1:
        raise InvalidInput("the floor is between 0 and 1, and the confidence 0.5 or more and less than 1")
    chosen: Point | None = None
    _check(trials)
    alone = _point(trials, 0.0, confidence)
    for kept in range(_STEPS + 1):
        point = _point(trials, kept / _STEPS, confidence) if kept else alone
        if point.bound < floor:
            break
        if chosen is None or point.cost <= chosen.cost:
            chosen = point
    if chosen is None:
        raise InvalidInput(
            f"the last model alone is right in {alone.quality:.1%} of {len(trials)} examples, which shows a quality "
            f"of {alone.bound:.1%} and not {floor:.1%}",
            next_step="Lower the floor, label more examples, or put a better model last.",
        )
    return Calibration(chosen.thresholds, floor, chosen.bound, confidence, len(trials))


def front(found: Sequence[Point]) -> Sequence[Point]:
    """Those points that no other is both cheaper and better than, by cost."""
    best: list[Point] = []
    for point in sorted(found, key=lambda each: (each.cost, -each.quality)):
        if not best or point.quality > best[-1].quality:
            best.append(point)
    return best


def lower_bound(right: int, of: int, confidence: float) -> float:
    """The one-sided lower bound of a share. Source: C. Clopper, E. Pearson, 1934."""
    if right == 0:
        return 0.0
    low, high = 0.0, right / of
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if _tail(right, of, middle) <= 1 - confidence else (low, middle)
    return low


def _tail(right: int, of: int, share: float) -> float:
    """The probability of `right` or more of `of` at this share."""
    if share <= 0:
        return 0.0
    total = 0.0
    for number in range(right, of + 1):
        logs = math.lgamma(of + 1) - math.lgamma(number + 1) - math.lgamma(of - number + 1)
        total += math.exp(logs + number * math.log(share) + (of - number) * math.log1p(-share))
    return min(1.0, total)


def _point(trials: Sequence[Trial], kept: float, confidence: float) -> Point:
    steps = len(trials[0].correct)
    thresholds = tuple(_threshold([trial.scores[step] for trial in trials], kept) for step in range(steps - 1))
    taken = [_taken(trial, thresholds) for trial in trials]
    right = sum(trial.correct[step] for trial, step in zip(trials, taken, strict=True))
    cost = sum(_cost(trial, step) for trial, step in zip(trials, taken, strict=True))
    return Point(
        kept,
        thresholds,
        cost / len(trials),
        right / len(trials),
        lower_bound(right, len(trials), confidence),
        tuple(taken.count(step) / len(trials) for step in range(steps)),
    )


def _cost(trial: Trial, taken: int) -> int:
    if trial.foreseen:
        return trial.costs[taken]
    # A step that was asked was checked too, but for the last.
    return sum(trial.costs[: taken + 1]) + sum(trial.checks[: taken + 1])


def _threshold(scores: Sequence[float], kept: float) -> float:
    """The score that the best `kept` of all reach; never, where none is to be kept."""
    count = round(kept * len(scores))
    return sorted(scores, reverse=True)[count - 1] if count else NEVER


def _taken(trial: Trial, thresholds: Sequence[float]) -> int:
    return next((step for step, least in enumerate(thresholds) if trial.scores[step] >= least), len(thresholds))


def check_count(examples: int) -> None:
    """Raises InvalidInput where so few examples could show nothing."""
    if examples < _LEAST:
        raise InvalidInput(f"{examples} examples are too few to say anything: take {_LEAST} at least")


def _check(trials: Sequence[Trial]) -> None:
    check_count(len(trials))
    steps = len(trials[0].correct)
    if steps < 2 or any(len(t.correct) != steps or len(t.costs) != steps or len(t.scores) != steps - 1 for t in trials):
        raise InvalidInput("every example needs an outcome and a cost for each step, and a score for each but the last")
