"""The service as fast as it goes: ONNX on the event loop, plain lists, no metrics."""

from __future__ import annotations

import os
from pathlib import Path

import bentoml
from peers_plain import Plain


@bentoml.service(logging={"access": {"enabled": False}}, metrics={"enabled": False})
class Score:
    """An `async` method runs on the event loop itself; the model takes microseconds."""

    def __init__(self) -> None:
        self.model = Plain(Path(os.environ["BENCH_PACKAGE"]))

    @bentoml.api
    async def predict(self, data: list[list[float]]) -> list[float]:
        return self.model.probabilities(data)
