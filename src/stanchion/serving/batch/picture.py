"""One picture of a finished job: what it predicted beside what was predicted in training, and which inputs moved."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ..contract import BatchReport, ColumnDrift
from .tally import BINS, Bins

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK, _SOFT, _GRID = "#1c2330", "#5b6577", "#e4e8ee"
_COLOURS = {"stable": "#2f5fd0", "shifted": "#d9a32b", "drifted": "#c8412b"}
_SHOWN = 15


def can_draw() -> bool:
    """Whether the library that draws is installed."""
    return find_spec("matplotlib") is not None


def drawn(title: str, report: BatchReport, expected: Bins | None) -> bytes:
    """A PNG: the distribution of the predictions, and the drift of each column. Needs matplotlib."""
    # Figure itself, not pyplot: pyplot looks for a display and keeps figures alive.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.8), dpi=110, facecolor="white", layout="constrained")
    left, right = figure.subplots(1, 2)
    bad = f", {report.quarantined:,} quarantined" if report.quarantined else ""
    figure.suptitle(f"{title}: {report.predicted:,} rows{bad}", fontsize=14, fontweight="bold", color=_INK)
    _predictions(left, report, expected)
    _drift(right, report.drift)
    _dress(left, "Predictions")
    _dress(right, "Drift of the inputs (PSI)")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _predictions(axes: Axes, report: BatchReport, expected: Bins | None) -> None:
    if not report.histogram:
        axes.text(0.5, 0.5, "no probability among the outputs", ha="center", color=_SOFT, transform=axes.transAxes)
        return
    total: int = max(1, sum(report.histogram))
    middles = [(place + 0.5) / BINS for place in range(BINS)]
    axes.bar(middles, [n / total * BINS for n in report.histogram], width=1 / BINS, color=_COLOURS["stable"], alpha=0.8,
             label="this job")  # fmt: skip
    known = 0 if expected is None else sum(expected.counts[:-1])
    if expected is not None and known:
        edges = [0.0, *expected.edges, 1.0]
        widths = [max(b - a, 1e-9) for a, b in itertools.pairwise(edges)]
        axes.stairs(
            [n / known / w for n, w in zip(expected.counts, widths, strict=False)],
            edges, color=_INK, linewidth=1.6, label="reference",
        )  # fmt: skip
    axes.set(xlabel="Predicted probability", ylabel="Density", xlim=(0, 1))
    axes.legend(loc="upper right", frameon=False, fontsize=10, labelcolor=_INK)


def _drift(axes: Axes, found: Sequence[ColumnDrift]) -> None:
    worst = sorted(found, key=lambda each: each.psi)[-_SHOWN:]
    if not worst:
        axes.text(0.5, 0.5, "no reference to compare with", ha="center", color=_SOFT, transform=axes.transAxes)
        return
    axes.barh(
        [each.column for each in worst], [each.psi for each in worst], color=[_COLOURS[each.verdict] for each in worst]
    )
    for limit in (0.1, 0.25):
        axes.axvline(limit, color=_SOFT, linewidth=1, linestyle=(0, (4, 4)))
    axes.set(xlabel="Population stability index (0.1 shifted, 0.25 drifted)")
    axes.set_xlim(0, max(0.3, worst[-1].psi * 1.1))


def _dress(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=11.5, color=_INK, pad=10)
    axes.grid(color=_GRID, linewidth=0.9)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_SOFT, labelsize=9.5, length=0)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_GRID)
