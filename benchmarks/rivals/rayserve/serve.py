"""Serves the model with Ray Serve, as its documentation serves trees or as fast as it goes.

benchmarks/serving/rivals.py starts it with Ray's own Python: serve.py documented|tuned, the package folder in
BENCH_PACKAGE. `documented` is the deployment of its tutorial: LightGBM, a request read as JSON, one replica, and room
for 100 requests at once, because with the default of 5 it all but stops at 32 connections. `tuned` is ONNX without
parsing by Starlette, 1,000 requests at once, and the two flags of its guide to high throughput, which put HAProxy in
front of the replica. Neither has a dashboard, a usage report or an access log.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from listening import announce, free_port

TUNED = "tuned" in sys.argv[1:]
if TUNED:
    # Read when Ray Serve is imported, here and in its actors.
    os.environ |= {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1", "RAY_SERVE_ENABLE_HA_PROXY": "1"}

import ray  # noqa: E402 - after its flags
from peers_plain import Plain  # noqa: E402 - stays with its neighbours
from ray import serve  # noqa: E402 - after its flags
from ray.serve.config import HTTPOptions  # noqa: E402 - after its flags
from ray.serve.schema import LoggingConfig  # noqa: E402 - after its flags
from starlette.requests import Request  # noqa: E402 - stays with its neighbours
from starlette.responses import Response  # noqa: E402 - stays with its neighbours


@serve.deployment(max_ongoing_requests=100)
class Documented:
    """LightGBM, and JSON by Starlette."""

    def __init__(self, package: str) -> None:
        import json

        from lightgbm import Booster

        self._model = Booster(model_file=str(Path(package) / "booster.txt"))
        self._columns = json.loads((Path(package) / "package.json").read_text())["columns"]

    async def __call__(self, request: Request) -> dict[str, Any]:
        given = await request.json()
        row = [given["features"][name] for name in self._columns]
        return {"probability": float(self._model.predict([row])[0])}


@serve.deployment(max_ongoing_requests=1000)
class Tuned:
    """Bytes in, bytes out, as the bare handler does it."""

    def __init__(self, package: str) -> None:
        self._model = Plain(Path(package))

    async def __call__(self, request: Request) -> Response:
        return Response(self._model.answer(await request.body()), media_type="application/json")


def main(package: str) -> None:
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=folder)
        serve.start(http_options=HTTPOptions(host="127.0.0.1", port=port))
        quiet = LoggingConfig(enable_access_log=False, log_level="ERROR")
        chosen = Tuned if TUNED else Documented
        serve.run(
            chosen.options(logging_config=quiet).bind(package), route_prefix="/v1/predictions", logging_config=quiet
        )
        told = (
            "ONNX, max_ongoing_requests 1000, RAY_SERVE_THROUGHPUT_OPTIMIZED, RAY_SERVE_ENABLE_HA_PROXY"
            if TUNED
            else "LightGBM, one replica, max_ongoing_requests 100"
        )
        announce(port, "/-/healthz", settings=told)
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
        # Not serve.shutdown() first: tuned replicas would wait thirty seconds for calls that nobody makes.
        ray.shutdown()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main(os.environ["BENCH_PACKAGE"])
