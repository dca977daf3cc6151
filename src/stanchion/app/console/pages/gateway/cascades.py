"""Cascades of the gateway: what the newest calibration of each found, as a picture and a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .....core.context import Context
from .....gateway import KeptReport
from ...charts import Pareto, Setting, pareto
from ...shell import Shell
from .room import door

PREFIX = "cascade:"
_MOST = 12
_THOUSAND = 1_000 / 10**12  # picodollars a call as dollars for 1,000 calls


@dataclass(frozen=True, slots=True)
class Row:
    """One setting of the table. `cost` is dollars for 1,000 calls; `shares` say which model answered how often."""

    name: str
    cost: float
    quality: float
    bound: float | None
    shares: Sequence[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class Cascade:
    """A cascade with its newest report; None where it was never calibrated. `declared` is False for one of old."""

    name: str
    declared: bool
    kept: KeptReport | None = None
    picture: Pareto | None = None
    rows: Sequence[Row] = ()


async def cascades(shell: Shell, ctx: Context, declared: Sequence[str]) -> tuple[Sequence[Cascade], int]:
    """The declared cascades and those with a report, by name, and how many more there are."""
    reports = {kept.cascade: kept for kept in await door(shell).cascade_reports(ctx)}
    names = sorted({*declared, *reports})
    found = [_cascade(name, reports.get(name), declared=name in declared) for name in names[:_MOST]]
    return found, len(names) - len(found)


def _cascade(name: str, kept: KeptReport | None, *, declared: bool) -> Cascade:
    if kept is None:
        return Cascade(name, declared)
    report = kept.report
    models = [each.model for each in report.alone]
    front = [Setting(point.cost * _THOUSAND, point.quality) for point in report.front]
    alone = [Setting(each.cost * _THOUSAND, each.quality, each.model) for each in report.alone]
    chosen = Setting(report.chosen.cost * _THOUSAND, report.chosen.quality)
    picture = pareto(front, alone, chosen, floor=report.calibration.floor)
    rows = [
        Row("calibrated", chosen.cost, chosen.quality, report.chosen.bound, _shares(models, report.chosen.shares)),
        *(Row(f"{each.model} alone", each.cost * _THOUSAND, each.quality, each.bound, ()) for each in report.alone),
        *(
            Row(
                f"keeps {point.kept:.0%}",
                point.cost * _THOUSAND,
                point.quality,
                point.bound,
                _shares(models, point.shares),
            )
            for point in report.front
        ),
    ]
    return Cascade(name, declared, kept, picture, rows)


def _shares(models: Sequence[str], shares: Sequence[float]) -> Sequence[tuple[str, float]]:
    return [(model, share) for model, share in zip(models, shares, strict=False) if share]
