"""Graphs that do as they are told, for tests of serving without an engine."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy

from ...core.errors import InvalidInput
from ..contract.tensors import TensorSpec
from ..ports import Graph, Runtime, Signature, TensorGraph


class ScriptedGraph(Graph):
    """Answers `probability` for every row; `fault`, if set, is raised instead. `before` is called first."""

    def __init__(self, name: str, probability: float) -> None:
        self.name = name
        self.probability = probability
        self.fault: Exception | None = None
        self.before: Callable[[], None] | None = None
        self.rows: list[list[float]] = []

    def probabilities(self, rows: Sequence[Sequence[float]]) -> list[float]:
        if self.before is not None:
            self.before()
        if self.fault is not None:
            raise self.fault
        self.rows = [list(row) for row in rows]
        return [self.probability] * len(rows)


class ScriptedTensors(TensorGraph):
    """Gives each row of its input `x`, FP32 `[rows, width]`, `factor` times over as `y`; `fault` is raised instead."""

    def __init__(self, name: str, factor: float, width: int) -> None:
        self.name = name
        self.factor = factor
        self.fault: Exception | None = None
        self._signature = Signature((TensorSpec("x", "FP32", (-1, width)),), (TensorSpec("y", "FP32", (-1, width)),))

    @property
    def signature(self) -> Signature:
        return self._signature

    def run(
        self, inputs: Mapping[str, numpy.ndarray[Any, Any]], outputs: Sequence[str]
    ) -> dict[str, numpy.ndarray[Any, Any]]:
        if self.fault is not None:
            raise self.fault
        return {name: inputs["x"] * numpy.float32(self.factor) for name in outputs}


class ScriptedRuntime(Runtime):
    """Loads files that are JSON such as `{"name": "a", "probability": 0.7}` and keeps the graphs by name.

    A file of anything else cannot be loaded, as a broken graph cannot.
    """

    def __init__(self) -> None:
        self.graphs: dict[str, ScriptedGraph] = {}
        self.tensor_graphs: dict[str, ScriptedTensors] = {}
        self.loads: list[str] = []

    @staticmethod
    def file(name: str, probability: float) -> bytes:
        """The content of a file that this runtime loads."""
        return json.dumps({"name": name, "probability": probability}).encode()

    def load(self, content: bytes, *, input_name: str, output_name: str, columns: int) -> Graph:
        try:
            told = json.loads(content)
            graph = ScriptedGraph(told["name"], told["probability"])
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidInput("the file is no scripted graph") from error
        self.graphs[graph.name] = graph
        self.loads.append(graph.name)
        return graph

    @staticmethod
    def tensor_file(name: str, factor: float, width: int) -> bytes:
        """The content of a file that this runtime loads as a graph of tensors."""
        return json.dumps({"name": name, "factor": factor, "width": width}).encode()

    def tensors(self, content: bytes) -> TensorGraph:
        try:
            told = json.loads(content)
            graph = ScriptedTensors(told["name"], told["factor"], told["width"])
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidInput("the file is no scripted graph of tensors") from error
        self.tensor_graphs[graph.name] = graph
        self.loads.append(graph.name)
        return graph
