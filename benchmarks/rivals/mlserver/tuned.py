"""The model as a custom runtime of MLServer around ONNX: a row of numbers in, two probabilities out."""

from __future__ import annotations

import json
import os
from pathlib import Path

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Onnx(MLModel):
    """The ONNX session of the package folder named by BENCH_PACKAGE."""

    async def load(self) -> bool:
        folder = Path(os.environ["BENCH_PACKAGE"])
        package = json.loads((folder / "package.json").read_text())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        self._session = onnxruntime.InferenceSession(
            (folder / "model.onnx").read_bytes(), options, providers=["CPUExecutionProvider"]
        )
        self._input, self._outputs = package["input"], [package["output"]]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = NumpyCodec.decode_input(payload.inputs[0])
        [answers] = self._session.run(self._outputs, {self._input: rows})
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("probabilities", answers)])
