"""A pipeline's graph as boxes in columns: each stage stands to the right of all that it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ....pipelines import NodeView

MOST = 80
_BOX, _GAP, _ROW, _HEIGHT, _TOP = 142, 40, 38, 26, 8
_LETTERS = 18
_KINDS: Mapping[str, str] = {"input": "source", "stage": "stage", "map": "transform", "join": "service"}


@dataclass(frozen=True, slots=True)
class Stage:
    """What a box says: `kind` colours it."""

    id: str
    kind: str
    name: str
    detail: str


@dataclass(frozen=True, slots=True)
class StageBox:
    """One stage, in pixels; `text` is its name as far as it fits."""

    node: Stage
    x: int
    y: int
    text: str


@dataclass(frozen=True, slots=True)
class Graph:
    """At most 80 boxes; `left_out` counts the stages beyond them."""

    boxes: Sequence[StageBox]
    paths: Sequence[str]
    width: int
    height: int
    box_width: int
    box_height: int
    left_out: int
    heads: Sequence[tuple[int, str]] = ()


def graph_picture(nodes: Sequence[NodeView]) -> Graph:
    """The picture of a pipeline; its nodes come in an order in which each is behind what it needs."""
    kept = nodes[:MOST]
    level: dict[str, int] = {}
    rows: dict[int, int] = {}
    boxes: dict[str, StageBox] = {}
    for node in kept:
        column = max((level[before] + 1 for before in node.after if before in level), default=0)
        level[node.id] = column
        row = rows[column] = rows.get(column, -1) + 1
        about = {"map": "for each item", "join": "one of the branches"}.get(node.kind, "")
        stage = Stage(node.id, _KINDS.get(node.kind, "stage"), node.id, node.guard or about)
        text = node.id if len(node.id) <= _LETTERS else f"{node.id[: _LETTERS - 1]}…"
        boxes[node.id] = StageBox(stage, column * (_BOX + _GAP), _TOP + row * _ROW, text)
    paths = [_path(boxes[start], boxes[node.id]) for node in kept for start in node.after if start in boxes]
    width = (max(level.values(), default=0) + 1) * (_BOX + _GAP) - _GAP
    height = _TOP + (max(rows.values(), default=0) + 1) * _ROW
    return Graph(list(boxes.values()), paths, width, height, _BOX, _HEIGHT, len(nodes) - len(kept))


def _path(start: StageBox, end: StageBox) -> str:
    x1, y1, x2, y2 = start.x + _BOX, start.y + _HEIGHT // 2, end.x, end.y + _HEIGHT // 2
    bend = max(20, (x2 - x1) // 2)
    return f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"
