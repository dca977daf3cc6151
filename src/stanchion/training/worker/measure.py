"""How good the probabilities are on rows that the estimator never saw: ranking, accuracy and calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..contract import Reliability
from ..ports import Measures

if TYPE_CHECKING:
    import numpy

BINS = 10


def measured(
    target: numpy.ndarray[Any, Any],
    probability: numpy.ndarray[Any, Any],
    *,
    train_rows: int,
    parity: float,
    simple: numpy.ndarray[Any, Any] | None,
) -> Measures:
    """ROC AUC, Brier score (Brier 1950), log loss and the calibration of the held-out probabilities."""
    from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

    bins = reliability(target, probability)
    return Measures(
        roc_auc=float(roc_auc_score(target, probability)),
        brier=float(brier_score_loss(target, probability)),
        log_loss=float(log_loss(target, probability)),
        base_rate=float(target.mean()),
        calibration_error=sum(abs(b.predicted - b.observed) * b.rows for b in bins) / len(target),
        train_rows=train_rows,
        test_rows=len(target),
        parity=parity,
        reliability=bins,
        simple_roc_auc=None if simple is None else float(roc_auc_score(target, simple)),
    )


def reliability(
    target: numpy.ndarray[Any, Any], probability: numpy.ndarray[Any, Any], bins: int = BINS
) -> tuple[Reliability, ...]:
    """Bins of equal size by predicted probability, lowest first.

    Equal sizes, not equal widths: a wide empty bin says nothing (Nguyen and O'Connor 2015).
    """
    import numpy

    parts = numpy.array_split(numpy.argsort(probability, kind="stable"), min(bins, len(target)))
    return tuple(Reliability(float(probability[p].mean()), float(target[p].mean()), len(p)) for p in parts)
