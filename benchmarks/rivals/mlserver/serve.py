"""Serves the model with MLServer, as its documentation serves LightGBM or as fast as it goes.

benchmarks/serving/rivals.py starts it with MLServer's own Python: serve.py documented|tuned, the package folder in
BENCH_PACKAGE. `documented` is its LightGBM runtime with its defaults: inference in one worker process, metrics on; only
the access log is off, as in production. `tuned` runs an ONNX session in the server process, which suits a model of
microseconds, without metrics and compression.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from listening import announce, free_port
from mlserver import MLServer, ModelSettings, Settings
from mlserver.settings import ModelParameters

NAME = "score"


async def serve(*, tuned: bool) -> None:
    ports = {"host": "127.0.0.1", "http_port": free_port(), "grpc_port": free_port(), "metrics_port": free_port()}
    if tuned:
        from tuned import Onnx

        settings = Settings(**ports, debug=False, parallel_workers=0, metrics_endpoint=None, gzip_enabled=False)
        model = ModelSettings(name=NAME, implementation=Onnx)
        told = "ONNX in the server process, no metrics, no compression"
    else:
        from mlserver_lightgbm import LightGBMModel

        settings = Settings(**ports, debug=False)
        booster = str(Path(os.environ["BENCH_PACKAGE"]) / "booster.txt")
        model = ModelSettings(name=NAME, implementation=LightGBMModel, parameters=ModelParameters(uri=booster))
        told = "LightGBM runtime, one worker process"
    server = MLServer(settings)
    ready = f"/v2/models/{NAME}/ready"
    telling = asyncio.create_task(asyncio.to_thread(announce, settings.http_port, ready, settings=told))
    await server.start([model])
    await telling


if __name__ == "__main__":
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(tuned="tuned" in sys.argv[1:]))
