"""A lineage as boxes in columns, from sources on the left to models on the right, and lines between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ....features import Lineage, Node

MOST = 80
_BOX, _GAP, _ROW, _HEIGHT, _TOP = 142, 30, 34, 26, 30
_LETTERS = 18
_SWEEPS = 4
_NAMES = ("Source", "Column", "Feature", "View, transform", "Computed", "Service", "Model")


@dataclass(frozen=True, slots=True)
class Box:
    """One node, in pixels; `text` is its name as far as it fits."""

    node: Node
    x: int
    y: int
    text: str


@dataclass(frozen=True, slots=True)
class Picture:
    """At most 80 boxes; `left_out` counts the nodes beyond them. `heads` are the columns' names and places."""

    boxes: Sequence[Box]
    paths: Sequence[str]
    heads: Sequence[tuple[int, str]]
    width: int
    height: int
    box_width: int
    box_height: int
    left_out: int


def lineage_picture(lineage: Lineage) -> Picture:
    """The picture of a lineage. Boxes stand near to what they are joined with, so that few lines cross."""
    computed = {end for start, end in lineage.edges if start.startswith("transform:")}
    kept = lineage.nodes[:MOST]
    levels: dict[int, list[Node]] = {}
    for node in kept:
        levels.setdefault(_level(node, computed), []).append(node)
    columns = [levels[level] for level in sorted(levels)]
    joined = _joined(lineage, {node.id for node in kept})
    _untangle(columns, joined)
    tallest = max(map(len, columns), default=0)
    boxes = [
        Box(node, column * (_BOX + _GAP), _TOP + int((row + (tallest - len(nodes)) / 2) * _ROW), _short(_label(node)))
        for column, nodes in enumerate(columns)
        for row, node in enumerate(nodes)
    ]
    places = {box.node.id: box for box in boxes}
    paths = [_path(places[start], places[end]) for start, end in lineage.edges if start in places and end in places]
    heads = [(column * (_BOX + _GAP), _NAMES[level]) for column, level in enumerate(sorted(levels))]
    width = max(len(columns) * (_BOX + _GAP) - _GAP, 0)
    height = _TOP + tallest * _ROW
    return Picture(boxes, paths, heads, width, height, _BOX, _HEIGHT, len(lineage.nodes) - len(kept))


def _level(node: Node, computed: set[str]) -> int:
    match node.kind:
        case "source" | "request":
            return 0
        case "column":
            return 1
        case "field":
            return 4 if node.id in computed else 2
        case "transform" | "view":
            return 3
        case "service":
            return 5
        case _:
            return 6


def _joined(lineage: Lineage, kept: set[str]) -> Mapping[str, list[str]]:
    joined: dict[str, list[str]] = {}
    for start, end in lineage.edges:
        if start in kept and end in kept:
            joined.setdefault(start, []).append(end)
            joined.setdefault(end, []).append(start)
    return joined


def _untangle(columns: Sequence[list[Node]], joined: Mapping[str, list[str]]) -> None:
    """Sort each column by the middle of its neighbours' places, back and forth (Sugiyama and others, 1981)."""
    places: dict[str, float] = {}
    for column in columns:
        places |= _spread(column)

    def middle(node: Node) -> float:
        near = joined.get(node.id, [node.id])
        return sum(places[other] for other in near) / len(near)

    for sweep in range(_SWEEPS):
        for column in columns if sweep % 2 == 0 else reversed(columns):
            column.sort(key=middle)
            places |= _spread(column)


def _spread(column: Sequence[Node]) -> dict[str, float]:
    return {node.id: (row + 0.5) / len(column) for row, node in enumerate(column)}


def _path(start: Box, end: Box) -> str:
    x1, y1, x2, y2 = start.x + _BOX, start.y + _HEIGHT // 2, end.x, end.y + _HEIGHT // 2
    bend = (x2 - x1) // 2
    return f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"


def _label(node: Node) -> str:
    return node.name.split(".", 1)[1] if node.kind in ("column", "field") and "." in node.name else node.name


def _short(text: str) -> str:
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"
