"""The open windows of one key: what has come for each, when it closes, and what came too late for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec

from ...core.values import Json
from .measures import Measure, Sums, fresh, joined, take, told
from .windows import Session, Span, Windows


class Pane(msgspec.Struct, array_like=True):
    """One window of one key. `told` is how often its result was given out: 0 is open, more than 1 is revised."""

    start: int
    end: int
    rows: int
    told: int
    sums: list[Sums]


@dataclass(frozen=True, slots=True)
class Closed:
    """The result of a window. `revision` is 1 at its close and grows with late rows.

    `merged` are the earlier results that this one takes the place of, where a late row has joined sessions.
    """

    start: int
    end: int
    rows: int
    revision: int
    values: Mapping[str, Json]
    merged: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Shape:
    """How rows become results: the windows, the measures by name, and for how many microseconds late rows count."""

    windows: Windows
    measures: Mapping[str, Measure]
    allowed: int = 0


class Panes:
    """The windows of one key; `kept` is its state between runs. Times are microseconds, as is the watermark.

    A watermark of w says that rows before w are not expected any more: it closes the windows that end at w or before.
    A closed window is remembered for the allowed lateness and told again with each row that comes for it.
    """

    def __init__(self, shape: Shape, kept: list[Pane] | None = None) -> None:
        self._shape = shape
        self.kept = kept if kept is not None else []

    def add(self, at: int, row: Mapping[str, Json], watermark: int) -> tuple[bool, list[Closed]]:
        """Whether any window took the row, and the closed windows that it revised. Raises InvalidInput.

        A row that all of its windows have ended for, allowed lateness included, is late: it changes nothing.
        """
        for measure in self._shape.measures.values():
            take(measure, fresh(measure), row)  # a row that a measure refuses changes no window
        if isinstance(self._shape.windows, Session):
            return self._join(at, row, watermark)
        taken, revised = False, []
        for span in self._shape.windows.spans(at):
            if span.end + self._shape.allowed <= watermark:
                continue
            taken = True
            pane = self._open(span)
            self._count(pane, row)
            if pane.told:
                revised.append(self._tell(pane))
        return taken, revised

    def close(self, watermark: int) -> Iterator[Closed]:
        """The results of the windows that the watermark closes, by their end; forgets those past allowed lateness."""
        for pane in sorted(self.kept, key=lambda each: (each.end, each.start)):
            if pane.end <= watermark and not pane.told:
                yield self._tell(pane)
        self.kept = [pane for pane in self.kept if pane.end + self._shape.allowed > watermark]

    @property
    def due(self) -> int | None:
        """The watermark at which something next happens here; None if nothing is kept."""
        allowed = self._shape.allowed
        return min((pane.end + allowed if pane.told else pane.end for pane in self.kept), default=None)

    def _open(self, span: Span) -> Pane:
        for pane in self.kept:
            if pane.start == span.start:
                return pane
        pane = Pane(span.start, span.end, 0, 0, [fresh(measure) for measure in self._shape.measures.values()])
        self.kept.append(pane)
        return pane

    def _count(self, pane: Pane, row: Mapping[str, Json]) -> None:
        measures = self._shape.measures.values()
        pane.sums = [take(measure, sums, row) for measure, sums in zip(measures, pane.sums, strict=True)]
        pane.rows += 1

    def _join(self, at: int, row: Mapping[str, Json], watermark: int) -> tuple[bool, list[Closed]]:
        (span,) = self._shape.windows.spans(at)
        met = [pane for pane in self.kept if pane.start < span.end and span.start < pane.end]
        start, end = min([span.start, *(p.start for p in met)]), max([span.end, *(p.end for p in met)])
        # Late is judged by the session it would join: a row may be old and its session still alive.
        if end + self._shape.allowed <= watermark:
            return False, []
        measures = list(self._shape.measures.values())
        whole = Pane(start, end, 0, 0, [fresh(measure) for measure in measures])
        for pane in met:
            whole.sums = [joined(m, a, b) for m, a, b in zip(measures, whole.sums, pane.sums, strict=True)]
            whole.rows += pane.rows
        self._count(whole, row)
        before = [pane for pane in met if pane.told]
        self.kept = [pane for pane in self.kept if pane not in met] + [whole]
        if not before:
            return True, []
        whole.told = max(pane.told for pane in before)
        gone = tuple(Span(p.start, p.end) for p in before if (p.start, p.end) != (start, end))
        return True, [self._tell(whole, gone)]

    def _tell(self, pane: Pane, merged: tuple[Span, ...] = ()) -> Closed:
        values = {
            name: told(measure, sums)
            for (name, measure), sums in zip(self._shape.measures.items(), pane.sums, strict=True)
        }
        pane.told += 1
        return Closed(pane.start, pane.end, pane.rows, pane.told, values, merged)
