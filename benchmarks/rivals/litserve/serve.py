"""Serves the model with LitServe, as its documentation serves trees or as fast as it goes.

benchmarks/serving/rivals.py starts it with LitServe's own Python: serve.py documented|tuned, the package folder in
BENCH_PACKAGE. `documented` has its defaults: one process for HTTP, one worker process, LightGBM. `tuned` is ONNX, the
fast queue between the two, and batches of what waits. Neither has an access log.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import litserve
import numpy
from listening import announce, free_port


# LitServe takes an annotation of `request` for the type of the body, and none for any JSON, as its examples do.
class Documented(litserve.LitAPI):
    """LightGBM, one row at a time."""

    def setup(self, device: str) -> None:
        from lightgbm import Booster

        self.model = Booster(model_file=str(Path(os.environ["BENCH_PACKAGE"]) / "booster.txt"))

    def decode_request(self, request):
        return numpy.asarray([request["input"]])

    def predict(self, x: Any) -> Any:
        return self.model.predict(x)

    def encode_response(self, output: Any) -> dict[str, float]:
        return {"output": float(output[0])}


class Tuned(litserve.LitAPI):
    """ONNX, all rows that wait in one run."""

    def setup(self, device: str) -> None:
        from peers_plain import Plain

        self.model = Plain(Path(os.environ["BENCH_PACKAGE"]))

    def decode_request(self, request):
        return request["input"]

    def batch(self, inputs: Sequence[list[float]]) -> Sequence[list[float]]:
        return inputs

    def predict(self, x: Sequence[list[float]]) -> list[float]:
        return self.model.probabilities(x)

    def unbatch(self, output: list[float]) -> list[float]:
        return output

    def encode_response(self, output: float) -> dict[str, float]:
        return {"output": output}


def main(*, tuned: bool) -> None:
    port = free_port()
    api = Tuned(max_batch_size=32, batch_timeout=0.001) if tuned else Documented()
    told = "ONNX, fast queue, batches of at most 32 within 1 ms" if tuned else "LightGBM, one worker process"
    server = litserve.LitServer(api, accelerator="cpu", fast_queue=tuned)
    telling = threading.Thread(target=announce, args=(port, "/health"), kwargs={"settings": told}, daemon=True)
    telling.start()
    server.run(host="127.0.0.1", port=port, log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    main(tuned="tuned" in sys.argv[1:])
