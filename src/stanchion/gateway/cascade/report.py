"""The report of a cascade on labelled examples: what each setting costs and how often it is right."""

from __future__ import annotations

from collections.abc import Sequence

from ..contract.cascade import Alone, CascadeReport, Trial
from .calibrate import calibrate, front, lower_bound, points


def report(models: Sequence[str], trials: Sequence[Trial], *, floor: float, confidence: float = 0.95) -> CascadeReport:
    """Raises InvalidInput, as `calibrate` does."""
    calibration = calibrate(trials, floor=floor, confidence=confidence)
    found = points(trials, confidence=confidence)
    chosen = next(point for point in found if point.thresholds == calibration.thresholds)
    alone = [_alone(model, step, trials, confidence) for step, model in enumerate(models)]
    saved = 1 - chosen.cost / alone[-1].cost if alone[-1].cost else 0.0
    return CascadeReport(alone, front(found), calibration, chosen, saved, len(trials))


def _alone(model: str, step: int, trials: Sequence[Trial], confidence: float) -> Alone:
    right = sum(trial.correct[step] for trial in trials)
    cost = sum(trial.costs[step] for trial in trials)
    return Alone(model, cost / len(trials), right / len(trials), lower_bound(right, len(trials), confidence))
