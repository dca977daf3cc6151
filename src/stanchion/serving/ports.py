"""What serving needs from an engine: something that loads a graph and runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from .contract.tensors import TensorSpec

if TYPE_CHECKING:
    import numpy

    from ..core.context import Context

    Array = numpy.ndarray[Any, numpy.dtype[Any]]


class Graph(Protocol):
    """A loaded graph. Safe to call from several threads at once."""

    def probabilities(self, rows: Sequence[Sequence[float]]) -> list[float]:
        """The probability of the positive class for each row, in order.

        A row has one number for each column of the package; NaN is an absent one. Blocks while it computes.
        Raises what the engine raises: the caller treats every exception as a failure of this graph.
        """
        ...


@dataclass(frozen=True, slots=True)
class Signature:
    """What a graph of tensors takes and gives; -1 in a shape is any size."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class TensorGraph(Protocol):
    """A loaded graph with any inputs and outputs. Safe to call from several threads at once."""

    @property
    def signature(self) -> Signature:
        """Its inputs and outputs, in the graph's own order."""
        ...

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """The outputs of that names. Inputs have the datatypes and shapes of the signature; texts are objects.

        Blocks while it computes. Raises what the engine raises.
        """
        ...


class Tensors(Protocol):
    """A model of tensors somewhere else: its runs are waited for, not computed here."""

    async def signature(self, ctx: Context) -> Signature:
        """Its inputs and outputs, asked for once; empty where nothing is told. Raises Unavailable, DeadlineExceeded."""
        ...

    async def ready(self, ctx: Context) -> bool:
        """Whether it says that it can be run."""
        ...

    async def infer(self, ctx: Context, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """The outputs of these names. Raises Unavailable, DeadlineExceeded, and InvalidInput if it refuses them."""
        ...


class Runtime(Protocol):
    """Loads graphs."""

    def load(self, content: bytes, *, input_name: str, output_name: str, columns: int) -> Graph:
        """The graph of a file whose digest has been checked. Blocks.

        Raises InvalidInput if it is no graph with that one input [rows, columns] and that output.
        """
        ...

    def tensors(self, content: bytes) -> TensorGraph:
        """The graph of a file whose digest has been checked, with the inputs and outputs it has. Blocks.

        Raises InvalidInput if it is no graph, or one with a type that the Open Inference Protocol lacks.
        """
        ...
