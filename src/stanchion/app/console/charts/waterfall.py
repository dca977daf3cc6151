"""A trace as bars on one clock: children under their parents, each where it ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ....core.telemetry.contract import Span
from ..figures import duration
from .scale import ticks
from .timeline import Label

MOST = 100
_ROW = 28
_DEEPEST = 12
# A bar is never thinner than this share of the width, or it could not be seen.
_THINNEST = 0.4


@dataclass(frozen=True, slots=True)
class Bar:
    """One span. `x` and `width` in percent; `text_x` is where its duration stands and `anchor` how."""

    span: Span
    depth: int
    y: int
    x: float
    width: float
    text: str
    text_x: float
    anchor: str
    offset_ms: float
    duration_ms: float


@dataclass(frozen=True, slots=True)
class Waterfall:
    """At most 100 bars; `left_out` counts the spans beyond them. `axis` in percent."""

    bars: Sequence[Bar]
    axis: Sequence[Label]
    height: int
    total_ms: float
    left_out: int


def waterfall(spans: Sequence[Span]) -> Waterfall:
    """The picture of one trace; a span whose parent was not kept stands at the left edge."""
    ordered = _ordered(spans)
    start = min((s.started_at for s in spans), default=0)
    total = max((max(s.ended_at, s.started_at) for s in spans), default=0) - start
    axis = ticks(total / 1000)
    widest = axis[-1] * 1000
    shown = [_bar(span, depth, row, start, widest) for row, (span, depth) in enumerate(ordered[:MOST])]
    labels = [Label(100 * v / axis[-1], duration(v) if v else "0", i % 2 == 1) for i, v in enumerate(axis)]
    return Waterfall(shown, labels, len(shown) * _ROW, total / 1000, max(0, len(ordered) - MOST))


def _ordered(spans: Sequence[Span]) -> list[tuple[Span, int]]:
    """Parents before children, each level by start. Spans in a circle of parents come last, as roots."""
    ids = {s.span_id for s in spans}
    children: dict[str | None, list[Span]] = {}
    for span in sorted(spans, key=lambda s: (s.started_at, s.span_id), reverse=True):
        children.setdefault(span.parent_id if span.parent_id in ids else None, []).append(span)
    out: list[tuple[Span, int]] = []
    seen: set[str] = set()
    stack = [(span, 0) for span in children.get(None, ())]
    while stack:
        span, depth = stack.pop()
        if span.span_id not in seen:
            seen.add(span.span_id)
            out.append((span, depth))
            stack.extend((child, depth + 1) for child in children.get(span.span_id, ()))
    return out + [(span, 0) for span in spans if span.span_id not in seen]


def _bar(span: Span, depth: int, row: int, start: int, widest: float) -> Bar:
    length = max(0, span.ended_at - span.started_at)
    x = min(100 * (span.started_at - start) / widest, 100 - _THINNEST)
    width = max(100 * length / widest, _THINNEST)
    ends = x + width
    if ends < 84:
        text_x, anchor = ends, "after"
    elif x > 16:
        text_x, anchor = x, "before"
    else:
        text_x, anchor = x, "inside"
    return Bar(
        span=span,
        depth=min(depth, _DEEPEST),
        y=row * _ROW,
        x=round(x, 3),
        width=round(min(width, 100 - x), 3),
        text=duration(length / 1000),
        text_x=round(text_x, 3),
        anchor=anchor,
        offset_ms=(span.started_at - start) / 1000,
        duration_ms=length / 1000,
    )
