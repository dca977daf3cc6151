"""The model with nothing around it, for servers that are tuned: bytes in, one row, one ONNX run, bytes out.

The bare handler and the tuned rivals run this, so that they differ only in what is around it. It needs msgspec, numpy
and onnxruntime and knows nothing of Stanchion. The session has the options that Stanchion gives it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path

import msgspec
import numpy
import onnxruntime


class Ask(msgspec.Struct, gc=False):
    """The body of POST /v1/predictions."""

    model_id: str
    features: dict[str, float]


class Tensor(msgspec.Struct, gc=False):
    """One input of the Open Inference Protocol."""

    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class Infer(msgspec.Struct, gc=False):
    """The body of POST /v2/models/score/infer."""

    inputs: list[Tensor]


class Plain:
    """The model of one package folder."""

    def __init__(self, folder: Path) -> None:
        package = json.loads((folder / "package.json").read_text())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        self._session = onnxruntime.InferenceSession(
            (folder / "model.onnx").read_bytes(), options, providers=["CPUExecutionProvider"]
        )
        self._input, self._outputs = package["input"], [package["output"]]
        self._read = itemgetter(*package["columns"])
        self._named = msgspec.json.Decoder(Ask).decode
        self._tensor = msgspec.json.Decoder(Infer).decode
        self._encode = msgspec.json.Encoder().encode

    def probabilities(self, rows: Sequence[Sequence[float]]) -> list[float]:
        """The probability of each row."""
        [answers] = self._session.run(self._outputs, {self._input: numpy.array(rows, dtype=numpy.float32)})
        told: list[float] = answers[:, 1].tolist()
        return told

    def answer(self, body: bytes) -> bytes:
        """The answer to a row of named numbers."""
        ask = self._named(body)
        return self._encode(
            {"model_id": ask.model_id, "probability": self.probabilities([self._read(ask.features)])[0]}
        )

    def infer(self, body: bytes) -> bytes:
        """The answer to a tensor."""
        given = self._tensor(body).inputs[0]
        rows = numpy.array(given.data, dtype=numpy.float32).reshape(given.shape)
        told = self.probabilities(rows)  # type: ignore[arg-type]  # an array of rows is a sequence of them
        output = {"name": "probability", "datatype": "FP32", "shape": [len(told), 1], "data": told}
        return self._encode({"model_name": "score", "outputs": [output]})
