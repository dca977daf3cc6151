"""From the columns of a source to the features of a service, as nodes and edges."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta

from ..contract import Aggregate, Lineage, Node, SourceSpec, ViewSpec
from ..contract.monitoring import NodeKind
from ..online.plans import Plan
from ..rows import Shape

_LITERALS = re.compile(r"'(?:[^']|'')*'")
_NAMES = re.compile(r'"((?:[^"]|"")+)"|([A-Za-z_]\w*)')


class _Graph:
    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.edges: dict[tuple[str, str], None] = {}

    def add(self, kind: NodeKind, name: str, detail: str = "") -> str:
        """The node's id; a node that is there stays as it is."""
        node = Node(f"{kind}:{name}", kind, name, detail)
        self.nodes.setdefault(node.id, node)
        return node.id

    def join(self, start: str, end: str) -> None:
        self.edges[start, end] = None


def traced(plan: Plan) -> Lineage:
    """The lineage of a service."""
    graph = _Graph()
    service = graph.add("service", plan.name, plan.service.fingerprint)
    for shape in plan.shapes:
        _add_view(graph, shape)
        graph.join(f"view:{shape.name}", service)
    for transform in plan.transforms:
        made = graph.add("transform", transform.name)
        read = {name: shape for shape in plan.shapes if shape.name in transform.views for name in shape.features}
        for name, shape in read.items():
            graph.join(f"field:{shape.name}.{name}", made)
        for name in transform.request_fields:
            graph.join(graph.add("request", name), made)
        for name in transform.fields:
            field = graph.add("field", f"{transform.name}.{name}", "computed at request time")
            graph.join(made, field)
            graph.join(field, service)
    return Lineage(plan.name, plan.service.fingerprint, tuple(graph.nodes.values()), tuple(graph.edges))


def _add_view(graph: _Graph, shape: Shape) -> None:
    spec, source = shape.spec, shape.spec.source
    view = graph.add("view", shape.name, f"by {shape.entity}, served for {shape.ttl}")
    origin = graph.add("source", shape.name if source is None else source.name, _where(source))
    for name in shape.features:
        field = graph.add("field", f"{shape.name}.{name}", _text(spec, name))
        graph.join(field, view)
        if source is None:
            graph.join(origin, field)
            continue
        for column in _columns(spec, source, name):
            place = graph.add("column", f"{source.name}.{column}")
            graph.join(origin, place)
            graph.join(place, field)


def _columns(spec: ViewSpec, source: SourceSpec, field: str) -> Iterator[str]:
    """The columns of the source that fill a field."""
    known = {name.lower(): name for name in source.row.model_fields}
    made = spec.aggregates.get(field)
    if made is not None:
        yield made.column if made.column is not None else source.time
    elif field in spec.select:
        # Whatever the expression names that is a column; a function of the same name counts, too.
        for quoted, plain in _NAMES.findall(_LITERALS.sub("''", spec.select[field])):
            name = quoted.replace('""', '"') or plain
            if name.lower() in known:
                yield known[name.lower()]
    else:
        yield field


def _text(spec: ViewSpec, field: str) -> str:
    made: Mapping[str, Aggregate] = spec.aggregates
    if field in made:
        each = made[field]
        return f"{each.function}({each.column or '*'}) over the last {_span(each.window)}"
    return spec.select.get(field, "")


def _span(window: timedelta) -> str:
    seconds = window.total_seconds()
    for unit, size in (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds >= size and seconds % size == 0:
            number = seconds / size
            return unit if number == 1 else f"{number:g} {unit}s"
    return f"{seconds:g} seconds"


def _where(source: SourceSpec | None) -> str:
    return "pushed rows" if source is None or source.table is None else f"{source.table.format}: {source.table.place}"
