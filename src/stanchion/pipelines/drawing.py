"""A pipeline's graph as SVG: columns by the longest way from the input, one box a stage, no script, no foreign font."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from .contract import NodeView, StageRun

_WIDE, _HIGH, _ACROSS, _DOWN, _EDGE = 168, 44, 72, 22, 16
_FILL = {
    "done": "#d8f0dd", "failed": "#f8d7d5", "waiting": "#fdf0cd", "retrying": "#fdf0cd", "skipped": "#e8e8ec",
    "undone": "#e6dcf4",
}  # fmt: skip
_PLAIN = "#eef2f7"


def drawn(title: str, nodes: Sequence[NodeView], states: Mapping[str, str]) -> str:
    """The picture; `states` maps the ids of nodes to the status that colours them."""
    places = _placed(nodes)
    width = max((x for x, _ in places.values()), default=0) + _WIDE + _EDGE
    height = max((y for _, y in places.values()), default=0) + _HIGH + _EDGE
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" font-family="system-ui, sans-serif" font-size="13">',
        f"<title>{escape(title)}</title>",
    ]
    for node in nodes:
        lines += [_edge(places[other], places[node.id]) for other in node.after if other in places]
    lines += [_box(node, places[node.id], states.get(node.id, "")) for node in nodes]
    return "\n".join([*lines, "</svg>"])


def _placed(nodes: Sequence[NodeView]) -> dict[str, tuple[int, int]]:
    """The corner of each box: its column is one more than that of the last box it needs."""
    columns: dict[str, int] = {}
    taken: dict[int, int] = {}
    places = {}
    for node in nodes:
        column = columns[node.id] = max((columns[other] + 1 for other in node.after if other in columns), default=0)
        row = taken[column] = taken.get(column, -1) + 1
        places[node.id] = (_EDGE + column * (_WIDE + _ACROSS), _EDGE + row * (_HIGH + _DOWN))
    return places


def _edge(start: tuple[int, int], end: tuple[int, int]) -> str:
    x1, y1, x2, y2 = start[0] + _WIDE, start[1] + _HIGH // 2, end[0], end[1] + _HIGH // 2
    bend = (x2 - x1) // 2
    path = f"M{x1} {y1} C{x1 + bend} {y1} {x2 - bend} {y2} {x2 - 5} {y2}"
    arrow = f"M{x2} {y2} l-7 -4 v8 z"
    return f'<path d="{path}" fill="none" stroke="#8a94a3" stroke-width="1.4"/><path d="{arrow}" fill="#8a94a3"/>'


def _box(node: NodeView, place: tuple[int, int], state: str) -> str:
    x, y = place
    words = node.id if len(node.id) <= 22 else node.id[:21] + "…"
    below = ("each of many" if node.kind == "map" else "") or (f"if {node.guard}" if node.guard else state)
    shown = below if len(below) <= 26 else below[:25] + "…"
    middle = x + _WIDE // 2
    round_ = _HIGH // 2 if node.kind in ("input", "join") else 6
    double = (
        f'<rect x="{x + 4}" y="{y - 4}" width="{_WIDE}" height="{_HIGH}" rx="6" fill="#fff" stroke="#5b6675"/>'
        if node.kind == "map"
        else ""
    )
    outline = f'x="{x}" y="{y}" width="{_WIDE}" height="{_HIGH}" rx="{round_}"'
    under = f'<text x="{middle}" y="{y + 35}" text-anchor="middle" font-size="11" fill="#4a5462">{escape(shown)}</text>'
    return (
        f"<g><title>{escape(node.id)} {escape(state)}</title>{double}"
        f'<rect {outline} fill="{_FILL.get(state, _PLAIN)}" stroke="#5b6675"/>'
        f'<text x="{middle}" y="{y + (19 if shown else 27)}" text-anchor="middle" fill="#1c2430">{escape(words)}</text>'
        f"{under if shown else ''}</g>"
    )


def states_of(steps: Sequence[StageRun]) -> dict[str, str]:
    """The status of each node from a run's steps; a map is as bad as its worst item."""
    order = ("done", "skipped", "undone", "retrying", "waiting", "failed")
    found: dict[str, str] = {}
    for step in steps:
        node = step.step.removeprefix("undo:").partition("[")[0]
        if node not in found or order.index(step.status) > order.index(found[node]):
            found[node] = step.status
    return found


def chain(steps: Sequence[StageRun]) -> list[NodeView]:
    """A run written as code, as the line of its steps."""
    names = list(dict.fromkeys(step.step.partition("[")[0] for step in steps))
    return [NodeView(name, name, "stage", () if at == 0 else (names[at - 1],)) for at, name in enumerate(names)]
