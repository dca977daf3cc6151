"""Follows a graph: each stage begins as soon as the answers it takes are there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ..contract import Graph, Node, PipelineSpec, Ref, StageFailed, StageSpec
from ..contract.nodes import INPUT
from .shared import Skipped, encoded, together


class Caller(Protocol):
    """The run whose graph it is."""

    async def call(self, spec: StageSpec, arguments: Mapping[str, str], key: str, number: int) -> Any:
        """The answer of a stage under a key of the journal. Raises StageFailed, Skipped."""
        ...

    async def each(
        self,
        spec: StageSpec,
        over: str,
        items: Sequence[Any],
        others: Mapping[str, Any],
        key: str,
        number: int,
        parallel: int,
    ) -> list[Any]:
        """A stage's answers for items, so many at once."""
        ...


class _Left:
    """Stands for the answer of a node that was left out."""


_LEFT = _Left()


async def follow(body: Caller, spec: PipelineSpec, inputs: Any) -> Any:
    """The answer of the graph's output node; None if it was left out. Raises StageFailed."""
    graph = spec.graph or Graph((), None)
    nodes = graph.nodes
    answers: dict[str, asyncio.Future[Any]] = {node.id: asyncio.get_running_loop().create_future() for node in nodes}
    given = asyncio.get_running_loop().create_future()
    given.set_result(inputs)
    answers[INPUT] = given

    async def one(node: Node, number: int) -> None:
        try:
            answer = await _answer(body, spec, node, number, answers)
        except BaseException as error:
            # Whoever waits for it is ended with the others; the first error is the run's.
            answers[node.id].cancel()
            raise error
        answers[node.id].set_result(answer)

    await together([one(node, number) for number, node in enumerate(nodes, start=1)])
    output = None if graph.output is None else _at(await answers[graph.output.node], graph.output)
    return None if output is _LEFT else output


async def _answer(
    body: Caller, spec: PipelineSpec, node: Node, number: int, answers: Mapping[str, asyncio.Future[Any]]
) -> Any:
    for ref, said in node.guards:
        value = _at(await answers[ref.node], ref)
        if value is _LEFT or bool(value) is not said:
            return _LEFT
    given = {name: await _value(value, answers) for name, value in node.arguments.items()}
    if node.kind == "join":
        return next((value for value in given.values() if value is not _LEFT), None)
    if any(value is _LEFT for value in given.values()):
        return _LEFT
    stage = spec.stages[node.stage]
    try:
        if node.kind == "map":
            items = given.pop(node.over)
            return await body.each(stage, node.over, items, given, node.id, number, node.parallel)
        return await body.call(stage, encoded(stage, given), node.id, number)
    except Skipped:
        return _LEFT


async def _value(value: object, answers: Mapping[str, asyncio.Future[Any]]) -> Any:
    return _at(await answers[value.node], value) if isinstance(value, Ref) else value


def _at(value: Any, ref: Ref) -> Any:
    """The field of a value that an edge names."""
    for name in ref.path:
        if value is _LEFT:
            return value
        try:
            value = value[name] if isinstance(value, Mapping) else getattr(value, name)
        except (AttributeError, KeyError):
            raise StageFailed("stage_failed", f"the answer of {ref.node} has no field {name!r}", ref.node) from None
    return value
