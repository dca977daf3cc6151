"""What a sliding window is, to the microsecond: each rule stands here twice, in Python and as SQL, side by side.

Read at time t, a window of length w with hop h holds the events with floor((t - w) / h) * h <= event time <= t. The
near end is exact; the far end moves in steps, so that whole tiles can be added up. Times are microseconds since the
epoch. Sums are made of whole numbers and are therefore the same in any order: fractions count to nine decimal places.
"""

from __future__ import annotations

import math
from datetime import timedelta

from ..contract import Aggregate

_MICROSECOND = timedelta(microseconds=1)
_SECOND = 1_000_000
PARTS = 1_000_000_000
"""Sums of fractions are counted in this many parts of one."""
LARGEST = 1 << 53
"""The largest number that a sum or a mean takes: above it a fraction has no exact whole part."""


def width(made: Aggregate) -> int:
    """The window's length in microseconds."""
    return made.window // _MICROSECOND


def hop(made: Aggregate) -> int:
    """The step of the window's far end in microseconds: as declared, or a sixtieth of it in whole seconds."""
    if made.hop is not None:
        return max(1, made.hop // _MICROSECOND)
    return max(1, (width(made) + 30 * _SECOND) // (60 * _SECOND)) * _SECOND


def far_end(at: int, width: int, hop: int) -> int:
    """The earliest event time in the window when it is read at `at`."""
    return (at - width) // hop * hop


def far_end_sql(at: str, width: int, hop: int) -> str:
    """The same over a BIGINT expression."""
    # Division truncates in SQL and floors in Python: the remainder is made positive first.
    return f"({at} - {width} - ((({at} - {width}) % {hop}) + {hop}) % {hop})"


def scaled(value: float) -> int:
    """A fraction in parts, half a part rounded up."""
    return math.floor(value * 1e9 + 0.5)


def scaled_sql(value: str) -> str:
    """The same over a DOUBLE expression, as HUGEINT."""
    return f"floor({value} * 1e9 + 0.5)::HUGEINT"


def unscaled(parts: int) -> float:
    """The fraction that so many parts are."""
    whole, rest = divmod(abs(parts), PARTS)
    found = float(whole) + float(rest) / 1e9
    return -found if parts < 0 else found


def unscaled_sql(parts: str) -> str:
    """The same over a HUGEINT expression, as DOUBLE; an error where the sum passes 64 bits."""
    found = f"((abs({parts}) // {PARTS})::BIGINT::DOUBLE + (abs({parts}) % {PARTS})::BIGINT::DOUBLE / 1e9)"
    return f"(CASE WHEN {parts} < 0 THEN -{found} ELSE {found} END)"


def usable(value: float) -> float | None:
    """A fraction as windows take it: what is not finite is no value, and zero has one sign."""
    return value + 0.0 if math.isfinite(value) else None


def usable_sql(value: str) -> str:
    """The same over a DOUBLE expression."""
    return f"(CASE WHEN isfinite({value}) THEN {value} + 0.0 END)"
