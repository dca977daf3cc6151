"""The report of a cascade on labelled examples: what each setting costs and how often it is right; with a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import Misconfigured
from ..contract.cascade import Calibration, Trial
from .calibrate import Point, calibrate, front, lower_bound, points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PICODOLLARS = 1e12


@dataclass(frozen=True, slots=True)
class Alone:
    """One model without the others."""

    model: str
    cost: float
    quality: float
    bound: float


@dataclass(frozen=True, slots=True)
class Report:
    """`front` are the settings that no other beats; `chosen` is the calibrated one, and what it saves of the last
    model's cost. Costs are the mean of a call in picodollars; `examples` says of how many."""

    alone: Sequence[Alone]
    front: Sequence[Point]
    calibration: Calibration
    chosen: Point
    saved: float
    examples: int


def report(models: Sequence[str], trials: Sequence[Trial], *, floor: float, confidence: float = 0.95) -> Report:
    """Raises InvalidInput, as `calibrate` does."""
    calibration = calibrate(trials, floor=floor, confidence=confidence)
    found = points(trials, confidence=confidence)
    chosen = next(point for point in found if point.thresholds == calibration.thresholds)
    alone = [_alone(model, step, trials, confidence) for step, model in enumerate(models)]
    saved = 1 - chosen.cost / alone[-1].cost if alone[-1].cost else 0.0
    return Report(alone, front(found), calibration, chosen, saved, len(trials))


def draw(given: Report, file: Path, *, title: str) -> None:
    """The report as a PNG: cost against quality. Raises Misconfigured without matplotlib."""
    figure, axes = _canvas()
    cost = [point.cost / PICODOLLARS * 1000 for point in given.front]
    axes.plot(cost, [point.quality for point in given.front], "o-", markersize=3, label="cascade")
    for each in given.alone:
        axes.plot(each.cost / PICODOLLARS * 1000, each.quality, "s", label=f"{each.model} alone")
    axes.plot(
        given.chosen.cost / PICODOLLARS * 1000, given.chosen.quality, "*", markersize=14, label="calibrated", zorder=5
    )
    axes.axhline(given.calibration.floor, linestyle="--", linewidth=1, color="grey", label="quality floor")
    axes.set_xlabel("US dollars for 1,000 calls")
    axes.set_ylabel(f"right answers of {given.examples} examples")
    axes.set_title(title)
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(file, dpi=120)


def _alone(model: str, step: int, trials: Sequence[Trial], confidence: float) -> Alone:
    right = sum(trial.correct[step] for trial in trials)
    cost = sum(trial.costs[step] for trial in trials)
    return Alone(model, cost / len(trials), right / len(trials), lower_bound(right, len(trials), confidence))


def _canvas() -> tuple[Figure, Axes]:
    try:
        # Without pyplot: it keeps every figure, and no window is wanted.
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise Misconfigured(
            "the picture needs the extra `train`", next_step="Run `pip install 'stanchion[train]'`."
        ) from error
    figure = Figure(figsize=(7, 4.5))
    return figure, figure.subplots()
