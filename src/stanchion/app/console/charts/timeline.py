"""Figures over time: stacked bars, lines with an area under a single one, and the small line of a tile."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .scale import short, spread, ticks

WIDTH, HEIGHT = 1000, 168
_TOP = 8
_TABLE_ROWS = 12
Write = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Axis:
    """The points of time, oldest first; `shown` are the labels below the plot, by position."""

    times: Sequence[str]
    shown: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Series:
    """One named line or layer; None where nothing was measured."""

    name: str
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Mark:
    """A path in the plot's own units, and the classes that colour it."""

    kind: str
    path: str


@dataclass(frozen=True, slots=True)
class Label:
    """Text on an axis: `at` is y in pixels, or x in percent. Minor ones are left out where it is narrow."""

    at: float
    text: str
    minor: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """The stretch of one point of time, and what the chart says about it."""

    x: float
    width: float
    readout: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A finished chart. `head` and `rows` tell the same as a table, in at most 12 rows."""

    title: str
    about: str
    marks: Sequence[Mark]
    values: Sequence[Label]
    times: Sequence[Label]
    columns: Sequence[Column]
    legend: Sequence[str]
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    empty: bool


def bars(title: str, time: Axis, series: Sequence[Series], *, write: Write, about: str) -> Chart:
    """Layers stacked in the order given, the first at the bottom."""
    number = len(time.times)
    totals = [sum(s.values[i] or 0.0 for s in series) for i in range(number)]
    values = ticks(max(totals, default=0))
    step = WIDTH / max(number, 1)
    floor = [0.0] * number
    marks = []
    for layer, one in enumerate(series):
        path = []
        for i in range(number):
            value = one.values[i] or 0.0
            if value > 0:
                top = _y(floor[i] + value, values[-1])
                path.append(
                    f"M{i * step + step * 0.14:.1f} {_y(floor[i], values[-1]):.1f}V{top:.1f}h{step * 0.72:.1f}"
                    f"V{_y(floor[i], values[-1]):.1f}z"
                )
                floor[i] += value
        marks.append(Mark(f"bar s{layer}", "".join(path)))
    return _chart(title, about, time, series, marks, values, write, total=True)


def lines(title: str, time: Axis, series: Sequence[Series], *, write: Write, about: str) -> Chart:
    """One line for each series, broken where nothing was measured; a single one has its area filled."""
    known = [v for s in series for v in s.values if v is not None]
    values = ticks(max(known, default=0))
    step = WIDTH / max(len(time.times), 1)
    marks = []
    for layer, one in enumerate(series):
        runs = _runs(one.values)
        if len(series) == 1:
            marks.append(Mark(f"area s{layer}", "".join(_area(run, one.values, step, values[-1]) for run in runs)))
        marks.append(Mark(f"line s{layer}", "".join(_line(run, one.values, step, values[-1]) for run in runs)))
    return _chart(title, about, time, series, marks, values, write, total=False)


def sparkline(values: Sequence[float | None]) -> str:
    """The path of a small line, 100 wide and 24 high; empty where all is zero or nothing was measured."""
    top = max((v for v in values if v is not None), default=0)
    if not top > 0:
        return ""
    step = 100 / max(len(values) - 1, 1)
    points = [(i * step, 22 - 20 * v / top) for i, v in enumerate(values) if v is not None]
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) if len(points) > 1 else ""


def _y(value: float, top: float) -> float:
    return HEIGHT - (HEIGHT - _TOP) * value / top


def _runs(values: Sequence[float | None]) -> list[range]:
    """Stretches without a gap."""
    runs, start = [], None
    for i, value in enumerate([*values, None]):
        if value is not None and start is None:
            start = i
        elif value is None and start is not None:
            runs.append(range(start, i))
            start = None
    return runs


def _line(run: range, values: Sequence[float | None], step: float, top: float) -> str:
    if len(run) == 1:
        # A lone point would be an invisible path of no length.
        return f"M{(run[0] + 0.2) * step:.1f} {_y(values[run[0]] or 0.0, top):.1f}h{step * 0.6:.1f}"
    return "M" + "L".join(f"{(i + 0.5) * step:.1f} {_y(values[i] or 0.0, top):.1f}" for i in run)


def _area(run: range, values: Sequence[float | None], step: float, top: float) -> str:
    if len(run) == 1:
        return ""
    first, last = (run[0] + 0.5) * step, (run[-1] + 0.5) * step
    return f"{_line(run, values, step, top)}L{last:.1f} {HEIGHT}L{first:.1f} {HEIGHT}z"


def _chart(
    title: str,
    about: str,
    time: Axis,
    series: Sequence[Series],
    marks: Sequence[Mark],
    values: Sequence[float],
    write: Write,
    *,
    total: bool,
) -> Chart:
    times, number = time.times, len(time.times)
    step = WIDTH / max(number, 1)
    return Chart(
        title=title,
        about=about,
        marks=marks,
        values=[Label(_y(value, values[-1]), short(value)) for value in values],
        times=[Label(100 * (i + 0.5) / number, text, k % 2 == 1) for k, (i, text) in enumerate(time.shown.items())],
        columns=[Column(i * step, step, _readout(times[i], series, i, write)) for i in range(number)],
        legend=[one.name for one in series],
        head=["Time (UTC)", *(one.name for one in series), *(["Total"] if total and len(series) > 1 else [])],
        rows=_rows(times, series, write, sums=total, total=total and len(series) > 1),
        empty=not any(v for one in series for v in one.values),
    )


def _readout(time: str, series: Sequence[Series], at: int, write: Write) -> str:
    parts = [f"{one.name} {write(value)}" for one in series if (value := one.values[at]) is not None]
    return " · ".join([time, *parts]) if parts else f"{time} · no requests"


def _rows(times: Sequence[str], series: Sequence[Series], write: Write, *, sums: bool, total: bool) -> list[list[str]]:
    """Every n-th stretch: sums where the chart stacks, the largest value where it draws lines."""
    starts = spread(len(times), most=_TABLE_ROWS)
    width = starts[1] if len(starts) > 1 else 1
    rows = []
    for start in starts:
        cells: list[float | None] = []
        for one in series:
            known = [v for v in one.values[start : start + width] if v is not None]
            cells.append((sum(known) if sums else max(known)) if known else None)
        extra = [write(sum(c or 0.0 for c in cells))] if total else []
        rows.append([times[start], *("–" if c is None else write(c) for c in cells), *extra])
    return rows
