"""`stanchion gateway compare`: what the calls of some days say of variants."""

from __future__ import annotations

from collections.abc import Callable
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
        show(options, found, lambda: _told(found))
        return DONE

    return run(options, work)


def _told(found: Comparison) -> str:
    rows = [_row(each) for each in found.variants]
    head = ("variant", "requests", "units", "broken", "$ a request", "ms", "score", "over the baseline")
    share = f"{found.confidence:.0%}"
    return (
        f"{found.subject}, against {found.baseline}. In brackets: {share} intervals, of differences for all together;\n"
        f"a * marks a difference that is decided.\n\n{table(head, rows)}"
    )


def _row(variant: Variant) -> tuple[str, ...]:
    over = {"$": variant.over_cost, "ms": variant.over_latency, "score": variant.over_score}
    told = [f"{name} {_estimate(each, _FORM[name])}{'*' * each.decided}" for name, each in over.items() if each]
    return (
        variant.name,
        str(variant.requests),
        str(variant.units),
        str(variant.broken),
        _estimate(variant.cost, _FORM["$"]),
        _estimate(variant.latency, _FORM["ms"]),
        _estimate(variant.score, _FORM["score"]),
        ", ".join(told),
    )


_FORM: dict[str, Callable[[float], str]] = {
    "$": lambda value: f"{value / _PICO:.6g}",
    "ms": lambda value: f"{value:.0f}",
    "score": lambda value: f"{value:.3g}",
}


def _estimate(found: Estimate | None, form: Callable[[float], str]) -> str:
    if found is None:
        return "-"
    if found.low is None or found.high is None:
        return form(found.mean)
    return f"{form(found.mean)} [{form(found.low)}, {form(found.high)}]"
