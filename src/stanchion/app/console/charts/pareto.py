"""What a cascade costs against how often it is right: the settings that no other beats, and each model alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .scale import short, ticks

WIDTH, HEIGHT = 480, 240
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.25)
_MOST_LINES = 6


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting, or one model alone: a cost in any unit, the share of right answers, and what it is called."""

    cost: float
    quality: float
    name: str = ""


@dataclass(frozen=True, slots=True)
class ParetoMark:
    """A setting in the picture. `before` says that its name stands left of it, where right of it is no room."""

    kind: Literal["setting", "alone", "chosen"]
    setting: Setting
    x: float
    y: float
    before: bool


@dataclass(frozen=True, slots=True)
class Pareto:
    """The curve, its marks, the floor's height, and grid lines with their labels along both axes."""

    path: str
    marks: Sequence[ParetoMark]
    floor: float
    costs: Sequence[tuple[float, str]]
    qualities: Sequence[tuple[float, str]]


def pareto(front: Sequence[Setting], alone: Sequence[Setting], chosen: Setting, *, floor: float) -> Pareto:
    """The picture of one report. Costs begin at 0; qualities end at 1 and begin below the lowest that is shown."""
    shown = [*front, *alone, chosen]
    steps = ticks(max(each.cost for each in shown))
    low, step = _range(min([floor, *(each.quality for each in shown)]))

    def place(each: Setting) -> tuple[float, float]:
        return each.cost / steps[-1] * WIDTH, HEIGHT * (1 - (each.quality - low) / (1 - low))

    groups: tuple[tuple[Literal["setting", "alone", "chosen"], Sequence[Setting]], ...] = (
        ("setting", front),
        ("alone", alone),
        ("chosen", (chosen,)),
    )
    marks = [ParetoMark(kind, each, *place(each), each.cost > steps[-1] * 0.7) for kind, of in groups for each in of]
    count = round((1 - low) / step)
    return Pareto(
        path="M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in map(place, front)) if front else "",
        marks=marks,
        floor=HEIGHT * (1 - (floor - low) / (1 - low)),
        costs=[(cost / steps[-1] * WIDTH, short(cost)) for cost in steps],
        qualities=[(HEIGHT * (1 - line / count), f"{low + line * step:.0%}") for line in range(count + 1)],
    )


def _range(lowest: float) -> tuple[float, float]:
    """Where the axis of qualities begins, below the lowest, and the step of its lines."""
    for step in _STEPS:
        lines = math.floor((1 - lowest) / step + 1e-9) + 1
        if lines <= _MOST_LINES:
            return max(0.0, 1 - lines * step), step
    return 0.0, 0.25
