"""`stanchion gateway compare`: what the calls of some days say of variants."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ...gateway import Comparison, Estimate, Gateway, Variant
from .office import DONE, Options, opened, operator, run, show, table

_PICO = 10**12


@dataclass(frozen=True, slots=True)
class Asked:
    """What was said on the command line."""

    prompt: str
    route: str
    days: int
    score: str
    baseline: str
    confidence: float


def compared(asked: Asked, *, data: Path, json: bool) -> int:
    """Compare and report; the exit code."""
    options = Options(data=data, json=json)

    async def work() -> int:
        end = datetime.now(UTC).date() + timedelta(days=1)
        async with opened(options, only=("gateway",)) as house:
            found = await house.door(Gateway).compare(
                operator(house.settings.tenant),
                prompt=asked.prompt,
                route=asked.route,
                start=end - timedelta(days=asked.days),
                end=end,
                score=asked.score,
                baseline=asked.baseline,
                confidence=asked.confidence,
            )
        show(options, found, lambda: told(found))
        return DONE

    return run(options, work)


def told(found: Comparison) -> str:
    """The comparison for people: the variants, then what each is over the baseline."""
    head = ("variant", "requests", "units", "broken", "scored", *_FORM)
    parts = [
        f"{found.subject}. In brackets: {found.confidence:.0%} intervals; one needs six units or more.",
        table(head, [_row(each) for each in found.variants]),
    ]
    rows = [row for each in found.variants if each.name != found.baseline for row in _over(each, found)]
    if rows:
        head = (f"over {found.baseline}", "of", "difference", "share", "decided")
        parts += ["Intervals of differences hold for all of them together.", table(head, rows)]
    else:
        parts.append(f"Nothing to compare: every call was answered by {found.baseline}.")
    return "\n\n".join(parts)


def _row(variant: Variant) -> tuple[str, ...]:
    counts = (variant.requests, variant.units, variant.broken, variant.scored)
    measured = zip(_measured(variant), _FORM.values(), strict=True)
    return (variant.name, *map(str, counts), *(_estimate(each, scale) for each, scale in measured))


def _over(variant: Variant, found: Comparison) -> Iterator[tuple[str, ...]]:
    """A row for each measure of both."""
    base = next(each for each in found.variants if each.name == found.baseline)
    differences = (variant.over_cost, variant.over_latency, variant.over_score)
    for (name, scale), difference, mean in zip(_FORM.items(), differences, _measured(base), strict=True):
        if difference is not None:
            share = _share(difference.mean, mean.mean) if mean is not None else ""
            decided = "yes" if difference.decided else "no"
            yield variant.name, name, _estimate(difference, scale, sign="+"), share, decided


def _share(difference: float, mean: float) -> str:
    percent = round(100 * difference / mean) if mean > 0 else None
    return "" if percent is None else f"{percent:+d}%" if percent else "0%"


def _measured(variant: Variant) -> tuple[Estimate | None, ...]:
    return variant.cost, variant.latency, variant.score


_FORM: Mapping[str, float] = {"$ a request": _PICO, "ms": 1, "score": 1}
"""The measures, and by what each is divided to be told."""


def _estimate(found: Estimate | None, scale: float, *, sign: str = "") -> str:
    if found is None:
        return ""
    mean, *ends = (_number(each, scale, sign) for each in (found.mean, found.low, found.high) if each is not None)
    return f"{mean} [{', '.join(ends)}]" if ends else mean


def _number(value: float, scale: float, sign: str) -> str:
    """Three digits that count, and no exponent: cents and seconds stand in one column."""
    rounded = float(f"{value / scale:.3g}") + 0.0  # no -0
    digits = max(0, 2 - math.floor(math.log10(abs(rounded)))) if rounded else 0
    return f"{rounded:{sign if rounded else ''},.{min(digits, 12)}f}"
