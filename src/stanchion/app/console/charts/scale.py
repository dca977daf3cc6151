"""Axes that read well: few round numbers, the top one at or above the largest value."""

from __future__ import annotations

import math


def ticks(largest: float, *, steps: int = 4) -> tuple[float, ...]:
    """Round numbers from 0 upwards that cover `largest` in at most `steps` + 1 steps; 0 and 1 for next to nothing."""
    if not 1e-9 < largest < math.inf:  # below, rounding would make equal steps of different ones
        return (0.0, 1.0)
    rough = largest / steps
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * 0.999)
    return tuple(round(step * index, 12) for index in range(math.ceil(largest / step - 1e-9) + 1))


def short(value: float) -> str:
    """An axis label: `0.5`, `250`, `1.2k`, `3M`."""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{letter}"
    return f"{value:.3g}"


def spread(number: int, *, most: int) -> tuple[int, ...]:
    """At most `most` evenly spaced positions of `number`, the first among them."""
    if number <= 0:
        return ()
    step = max(1, math.ceil(number / most))
    return tuple(range(0, number, step))
