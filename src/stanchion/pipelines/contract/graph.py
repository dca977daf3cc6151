"""Reads the graph out of a pipeline's function: it is called once, with what stands for values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from ...core.errors import Misconfigured
from .declarations import StageSpec
from .nodes import INPUT, Graph, Node, Ref
from .views import NodeKind


class Traced:
    """What stands for a value while a pipeline's function is read: its fields are edges too, all else is refused."""

    def __init__(self, ref: Ref) -> None:
        self._ref = ref

    def __getattr__(self, name: str) -> Traced:
        if name.startswith("__"):
            raise AttributeError(name)
        return Traced(Ref(self._ref.node, (*self._ref.path, name)))

    def _refused(self, *_: object) -> Any:
        raise Misconfigured(
            "a pipeline's function computes with a value that exists only in a run",
            next_step="Do it in a stage; branch with choose(), or write the pipeline as an async function.",
        )

    __bool__ = __iter__ = __len__ = __getitem__ = __add__ = __lt__ = __gt__ = __call__ = _refused


class Tracer:
    """Takes down the calls of stages while a pipeline's function is read."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.stages: dict[str, StageSpec] = {}
        self._guards: list[tuple[Ref, bool]] = []

    def call(self, stage: StageSpec, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Traced:
        """A node for one call."""
        return self._add(stage.name, "stage", bound(stage, args, kwargs), stage=stage)

    def map(self, stage: StageSpec, items: Any, kwargs: Mapping[str, Any], *, parallel: int) -> Traced:
        """A node that calls the stage for each of the items, given as its first parameter."""
        at_once(stage, parallel)
        over = next(iter(stage.parameters), "")
        return self._add(stage.name, "map", bound(stage, (items,), kwargs), stage=stage, over=over, parallel=parallel)

    def choose(self, condition: Any, then: Callable[[], Any], otherwise: Callable[[], Any] | None) -> Traced:
        """A join of two branches, of which one runs."""
        ref = _edge(condition)
        if not isinstance(ref, Ref):
            raise Misconfigured("choose() needs a stage's answer as its condition")
        found: dict[str, Any] = {}
        for name, said, branch in (("then", True, then), ("otherwise", False, otherwise)):
            if branch is None:
                continue
            self._guards.append((ref, said))
            found[name] = branch()
            self._guards.pop()
        return self._add("choose", "join", {name: _edge(value) for name, value in found.items()})

    def _add(
        self,
        name: str,
        kind: NodeKind,
        arguments: Mapping[str, Any],
        *,
        stage: StageSpec | None = None,
        over: str = "",
        parallel: int = 8,
    ) -> Traced:
        if stage is not None and self.stages.setdefault(name, stage) is not stage:
            raise Misconfigured(f"two stages are called {name!r}")
        same = sum(1 for node in self.nodes if node.stage == name)
        node = Node(f"{name}#{same + 1}" if same else name, name, kind, arguments, over, parallel, tuple(self._guards))
        self.nodes.append(node)
        return Traced(Ref(node.id))


_tracer: ContextVar[Tracer | None] = ContextVar("stanchion_tracer", default=None)


def tracer() -> Tracer | None:
    """What takes down calls at this moment; None outside of the reading of a pipeline."""
    return _tracer.get()


@contextmanager
def _reading() -> Iterator[Tracer]:
    found = Tracer()
    token = _tracer.set(found)
    try:
        yield found
    finally:
        _tracer.reset(token)


def traced(function: Callable[[Any], Any]) -> tuple[Graph, Mapping[str, StageSpec]]:
    """The graph that a pipeline's function describes, and its stages. Raises Misconfigured."""
    with _reading() as found:
        answer = function(Traced(Ref(INPUT)))
    output = _edge(answer)
    if output is not None and not isinstance(output, Ref):
        raise Misconfigured(f"the pipeline {function.__name__} must give a stage's answer, or nothing")
    if not found.nodes:
        raise Misconfigured(f"the pipeline {function.__name__} calls no stage")
    return Graph(tuple(found.nodes), output), found.stages


def choose(condition: Any, then: Callable[[], Any], otherwise: Callable[[], Any] | None = None) -> Any:
    """In a pipeline's function: run the branch that a stage's answer, true or false, decides on."""
    found = tracer()
    if found is not None:
        return found.choose(condition, then, otherwise)
    if condition:
        return then()
    return otherwise() if otherwise is not None else None


def at_once(stage: StageSpec, parallel: int) -> None:
    """Raises Misconfigured unless a map of the stage may call it so many times at once."""
    if parallel < 1:
        raise Misconfigured(f"a map of the stage {stage.name} calls it at least once at a time, not {parallel} times")


def bound(stage: StageSpec, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by the names of the stage's value parameters. Raises Misconfigured for what does not fit."""
    names = list(stage.parameters)
    given = dict(zip(names, args, strict=False)) | dict(kwargs)
    unknown = [name for name in kwargs if name not in names or name in names[: len(args)]]
    if len(args) > len(names) or unknown:
        raise Misconfigured(f"the stage {stage.name} takes {', '.join(names) or 'no values'}, once each")
    return {name: _edge(value) for name, value in given.items()}


def _edge(value: Any) -> object:
    return value._ref if isinstance(value, Traced) else value
