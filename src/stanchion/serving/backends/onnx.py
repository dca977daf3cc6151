"""Graphs in ONNX Runtime, in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy
import onnxruntime

from ...core.errors import InvalidInput
from ..contract.tensors import TensorSpec
from ..ports import Graph, Runtime, Signature, TensorGraph

Array = numpy.ndarray[Any, numpy.dtype[Any]]
_DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}


class OnnxRuntime(Runtime):
    """One thread for each run: the graphs served here take microseconds, and waking a second thread costs more."""

    def load(self, content: bytes, *, input_name: str, output_name: str, columns: int) -> Graph:
        session = _session(content)
        inputs = [(each.name, each.type, each.shape[-1]) for each in session.get_inputs()]
        if inputs != [(input_name, "tensor(float)", columns)]:
            raise InvalidInput(
                f"the graph's inputs are {inputs}, not one float matrix {input_name!r} of {columns} columns"
            )
        if output_name not in [each.name for each in session.get_outputs()]:
            raise InvalidInput(f"the graph has no output {output_name!r}")
        return OnnxGraph(session, input_name, output_name)

    def tensors(self, content: bytes) -> TensorGraph:
        return OnnxTensors(_session(content))


def _session(content: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    # ONNX Runtime's exceptions share no base but Exception.
    except Exception as error:
        raise InvalidInput(f"ONNX Runtime cannot load the graph: {type(error).__name__}") from error


class OnnxGraph(Graph):
    """A session with one input matrix and an output of two columns, of which the second is served."""

    def __init__(self, session: onnxruntime.InferenceSession, input_name: str, output_name: str) -> None:
        self._run = session.run
        self._input = input_name
        self._outputs = [output_name]

    def probabilities(self, rows: Sequence[Sequence[float]]) -> list[float]:
        [answer] = self._run(self._outputs, {self._input: numpy.array(rows, dtype=numpy.float32)})
        # One row is the usual call: reading its one number is quicker than slicing a column.
        served: list[float] = [answer.item(1)] if len(rows) == 1 else answer[:, 1].tolist()
        return served


class OnnxTensors(TensorGraph):
    """A session with the inputs and outputs it has."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self._signature = Signature(
            tuple(_spec(each) for each in session.get_inputs()), tuple(_spec(each) for each in session.get_outputs())
        )
        self._texts = {each.name for each in self._signature.inputs if each.datatype == "BYTES"}

    @property
    def signature(self) -> Signature:
        return self._signature

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        given = {name: _decoded(array) if name in self._texts else array for name, array in inputs.items()}
        names = list(outputs)
        return dict(zip(names, self._session.run(names, given), strict=True))


def _spec(each: Any) -> TensorSpec:
    datatype = _DATATYPES.get(each.type)
    if datatype is None:
        raise InvalidInput(f"{each.name} of the graph is a {each.type}, which is no tensor of the protocol")
    # A size that the graph names instead of numbering is free.
    shape = tuple(size if isinstance(size, int) and size >= 0 else -1 for size in each.shape)
    return TensorSpec(each.name, datatype, shape)


def _decoded(array: Array) -> Array:
    """Texts as the engine wants them: str objects."""
    texts = numpy.empty(array.shape, dtype=object)
    flat = texts.reshape(-1)
    flat[:] = [each.decode() if isinstance(each, bytes) else str(each) for each in array.ravel()]
    return texts
