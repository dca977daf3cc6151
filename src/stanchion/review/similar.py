"""Decided cases that are most like a new one, by the scalar fields of their inputs.

Source: J. C. Gower, "A general coefficient of similarity and some of its properties", Biometrics 27 (1971): the mean
over fields of 1 - |a - b| / range for numbers, and of equality for the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..core.values import Json

_LEAST = 0.5


@dataclass(frozen=True, slots=True)
class Decided:
    """A decided case: its input and proposal, and what was decided."""

    item: str
    input: Json
    proposal: Json
    verdict: str
    reason: str


def similar(given: Json, decided: Sequence[Decided], most: int) -> list[Json]:
    """Up to `most` decided cases, the most similar first, none that is half as like or less."""
    wanted = scalars(given)
    known = [(case, scalars(case.input)) for case in decided]
    ranges = _ranges([wanted, *(fields for _, fields in known)])
    scored = [(likeness(wanted, fields, ranges), case) for case, fields in known]
    best = sorted((s for s in scored if s[0] > _LEAST), key=lambda pair: (-pair[0], pair[1].item))[:most]
    return [
        {
            "item": case.item,
            "likeness": round(score, 3),
            "input": case.input,
            "proposal": case.proposal,
            "verdict": case.verdict,
            "reason": case.reason,
        }
        for score, case in best
    ]


def scalars(value: Json) -> Mapping[str, Json]:
    """The fields of an input that can be compared: those of an object that hold one value."""
    if not isinstance(value, dict):
        return {}
    return {name: each for name, each in value.items() if isinstance(each, str | int | float | bool)}


def likeness(one: Mapping[str, Json], other: Mapping[str, Json], ranges: Mapping[str, float]) -> float:
    """Gower's coefficient, 0 to 1; a field that only one side has counts as unlike."""
    names = one.keys() | other.keys()
    if not names:
        return 0.0
    return sum(_alike(one.get(name), other.get(name), ranges.get(name, 0.0)) for name in names) / len(names)


def _alike(one: Json, other: Json, span: float) -> float:
    if one is None or other is None:
        return 0.0
    a, b = _number(one), _number(other)
    if a is not None and b is not None and span > 0:
        return 1 - abs(a - b) / span
    return 1.0 if type(one) is type(other) and one == other else 0.0


def _number(value: Json) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _ranges(rows: Sequence[Mapping[str, Json]]) -> dict[str, float]:
    seen: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            if (number := _number(value)) is not None:
                seen.setdefault(name, []).append(number)
    return {name: max(values) - min(values) for name, values in seen.items()}
