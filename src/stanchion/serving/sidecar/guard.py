"""Whether a model's outcome may stand in for a base value. Pure; the same here and in a client of another process."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from ...core.values import Json
from ..contract.sidecar import AdviceReason, GuardBand


class Judged(NamedTuple):
    """`ai`, or the reason against the value, in a word and in a sentence."""

    reason: AdviceReason
    detail: str


_GOOD = Judged("ai", "")


def judged(guard: GuardBand, base: Json, value: Json, confidence: Json, outcome: Mapping[str, Json]) -> Judged:
    """The verdict on one outcome; never raises."""
    if is_number(base) and not is_number(value):
        return Judged("error", "the model's value is no finite number")
    if guard.min_confidence is not None:
        if not is_number(confidence):
            return Judged("error", "the model's confidence is no finite number")
        if not as_float(confidence) > guard.min_confidence:
            told = f"confidence {as_float(confidence):.3g} is not above {guard.min_confidence:g}"
            return Judged("low_confidence", told)
    return _within(guard, base, value, outcome)


def _within(guard: GuardBand, base: Json, value: Json, outcome: Mapping[str, Json]) -> Judged:
    bounded = guard.max_deviation is not None or guard.lowest is not None or guard.highest is not None
    if bounded and not (is_number(base) and is_number(value)):
        return Judged("error", "a band of numbers was declared for what is no number")
    if bounded:
        found, own = as_float(value), as_float(base)
        # In decimals, as prices are written: in binary fractions 0.23 is more than 15 % above 0.20.
        if guard.max_deviation is not None and abs(_decimal(found) - _decimal(own)) > _decimal(
            guard.max_deviation
        ) * abs(_decimal(own)):
            return Judged("outside_band", f"{found:g} is more than {guard.max_deviation:.4g} of the base value away")
        if (guard.lowest is not None and found < guard.lowest) or (guard.highest is not None and found > guard.highest):
            return Judged("outside_band", f"{found:g} is beyond the declared limits")
    if guard.check is not None:
        try:
            passed = guard.check(base, outcome)
        # A guard that fails has not allowed anything; what it raised is its own affair.
        except Exception as error:
            return Judged("outside_band", f"the declared check failed: {type(error).__name__}")
        if not passed:
            return Judged("outside_band", "the declared check refused it")
    return _GOOD


def is_number(value: Json) -> bool:
    """Whether it is a finite number, and no boolean."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def as_float(value: Json) -> float:
    """A number that `is_number` has admitted."""
    return float(value) if isinstance(value, int | float) else math.nan


def _decimal(number: float) -> Decimal:
    return Decimal(repr(number))
