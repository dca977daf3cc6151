"""A pipeline as data: stages are nodes, arguments are edges. It is drawn, and run, from this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .views import NodeKind

INPUT = "input"


@dataclass(frozen=True, slots=True)
class Ref:
    """An edge: the answer of a node, or a field of it."""

    node: str
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """One call of a stage. `arguments` are edges or constants; a map calls it for each item of its parameter `over`.

    With a `guard` it is skipped unless the answer there is as true or false as said. A join gives the answer of the
    one argument that was not skipped.
    """

    id: str
    stage: str
    kind: NodeKind
    arguments: Mapping[str, Ref | object] = field(default_factory=dict)
    over: str = ""
    parallel: int = 8
    guards: Sequence[tuple[Ref, bool]] = ()

    @property
    def after(self) -> tuple[str, ...]:
        """The nodes it needs, each once."""
        edges = [value for value in self.arguments.values() if isinstance(value, Ref)]
        return tuple(dict.fromkeys(ref.node for ref in (*edges, *(guard for guard, _ in self.guards))))


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in an order in which each comes after what it needs, and whose answer is the run's output."""

    nodes: tuple[Node, ...]
    output: Ref | None
