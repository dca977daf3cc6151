"""A distribution over 0 to 1 in equal bins: one bar for each, and all of them in the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..figures import percent
from .timeline import Axis, Chart, Series, bars


def histogram(title: str, counts: Sequence[int]) -> Chart:
    """The picture of how many values lie in each bin."""
    number, total = len(counts), max(1, sum(counts))
    names = [f"{i / number:.2f} to {(i + 1) / number:.2f}" for i in range(number)]
    shown = {i: f"{i / number:.1f}" for i in range(0, number, max(1, number // 10))}
    made = bars(
        title,
        Axis(names, shown),
        [Series("rows", [float(count) for count in counts])],
        write=lambda value: f"{value:,.0f}",
        about=f"{sum(counts):,} rows in {number} bins of probability.",
    )
    rows = [(name, f"{count:,}", percent(count / total)) for name, count in zip(names, counts, strict=True)]
    return replace(made, head=["Probability", "Rows", "Share"], rows=rows)
