"""One picture of a training: how well it ranks, whether its probabilities are true, how it spreads the scores."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from ..ports import Measures

if TYPE_CHECKING:
    import numpy
    from matplotlib.axes import Axes

_INK, _SOFT, _GRID = "#1c2330", "#5b6577", "#e4e8ee"
_MAIN, _SIMPLE, _NEGATIVE, _POSITIVE = "#2f5fd0", "#9aa4b5", "#8fb0ee", "#d9622b"


def drawn(
    title: str,
    target: numpy.ndarray[Any, Any],
    probability: numpy.ndarray[Any, Any],
    simple: numpy.ndarray[Any, Any] | None,
    measures: Measures,
) -> bytes:
    """A PNG with the ROC curve, the reliability diagram and the histogram of scores by outcome."""
    # Figure itself, not pyplot: pyplot looks for a display and keeps figures alive.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.5, 4.9), dpi=110, facecolor="white", layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    figure.suptitle(
        f"{title}: {measures.test_rows:,} held-out rows, {measures.base_rate:.1%} positive",
        fontsize=14,
        fontweight="bold",
        color=_INK,
    )
    _roc(left, target, probability, simple, measures)
    _calibration(middle, measures)
    _scores(right, target, probability)
    _dress(left, "Ranking (ROC)")
    _dress(middle, "Calibration (bins of equal size, 95 % interval)")
    _dress(right, "Scores by outcome")
    buffer = io.BytesIO()
    # No date and no version in the file: the same training gives the same bytes.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _roc(
    axes: Axes,
    target: numpy.ndarray[Any, Any],
    probability: numpy.ndarray[Any, Any],
    simple: numpy.ndarray[Any, Any] | None,
    measures: Measures,
) -> None:
    from sklearn.metrics import roc_curve

    axes.plot([0, 1], [0, 1], color=_SOFT, linewidth=1, linestyle=(0, (4, 4)))
    if simple is not None:
        false, true, _ = roc_curve(target, simple)
        axes.plot(false, true, color=_SIMPLE, linewidth=1.8, label=f"simple, AUC {measures.simple_roc_auc:.3f}")
    false, true, _ = roc_curve(target, probability)
    axes.plot(false, true, color=_MAIN, linewidth=2.4, label=f"primary, AUC {measures.roc_auc:.3f}")
    axes.fill_between(false, true, color=_MAIN, alpha=0.07, linewidth=0)
    axes.set(xlabel="False positive rate", ylabel="True positive rate")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.legend(loc="lower right", frameon=False, fontsize=10, labelcolor=_INK, reverse=True)


def _calibration(axes: Axes, measures: Measures) -> None:
    predicted = [b.predicted for b in measures.reliability]
    observed = [b.observed for b in measures.reliability]
    # 95 % normal interval of an observed rate: without it every wiggle looks like a fault.
    error = [1.96 * (b.observed * (1 - b.observed) / b.rows) ** 0.5 for b in measures.reliability]
    top = min(1.0, max([*predicted, *(o + e for o, e in zip(observed, error, strict=True))]) * 1.08)
    axes.plot([0, top], [0, top], color=_SOFT, linewidth=1, linestyle=(0, (4, 4)))
    axes.errorbar(predicted, observed, yerr=error, color=_MAIN, linewidth=2.2, elinewidth=1.2, capsize=2.5, marker="o")
    axes.set(xlabel="Predicted probability", ylabel="Observed rate")
    axes.set(xlim=(-0.01, top), ylim=(-0.01, top))
    axes.text(
        0.05,
        0.95,
        f"Brier {measures.brier:.4f}\nlog loss {measures.log_loss:.4f}\nECE {measures.calibration_error:.4f}",
        transform=axes.transAxes,
        va="top",
        fontsize=10,
        color=_INK,
        linespacing=1.5,
    )


def _scores(axes: Axes, target: numpy.ndarray[Any, Any], probability: numpy.ndarray[Any, Any]) -> None:
    import numpy

    edges = numpy.linspace(0, 1, 31)
    groups = [probability[target == 0], probability[target == 1]]
    axes.hist(groups, bins=edges.tolist(), stacked=True, color=[_NEGATIVE, _POSITIVE], label=["outcome 0", "outcome 1"])
    axes.set(xlabel="Predicted probability", ylabel="Rows", xlim=(0, 1))
    axes.legend(loc="upper right", frameon=False, fontsize=10, labelcolor=_INK)


def _dress(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=11.5, color=_INK, pad=10)
    axes.grid(color=_GRID, linewidth=0.9)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_SOFT, labelsize=9.5, length=0)
    axes.xaxis.label.set_color(_SOFT)
    axes.yaxis.label.set_color(_SOFT)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_GRID)
