"""Serves the model with BentoML, as its documentation serves trees or as fast as it goes.

benchmarks/serving/rivals.py starts it with BentoML's own Python: serve.py documented|tuned, the package folder in
BENCH_PACKAGE. Both are `bentoml serve` with one worker, which is its default, and without usage report and access log.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from listening import announce, free_port

HERE = Path(__file__).resolve().parent


def main(chosen: str) -> None:
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bentoml-") as home:
        os.environ |= {"BENTOML_HOME": home, "BENTOML_DO_NOT_TRACK": "True"}
        if chosen == "documented":
            import bentoml
            from lightgbm import Booster

            booster = Booster(model_file=str(Path(os.environ["BENCH_PACKAGE"]) / "booster.txt"))
            bentoml.lightgbm.save_model("score", booster)
        command = [
            *(sys.executable, "-m", "bentoml", "serve", f"{chosen}:Score"),
            *("--working-dir", str(HERE), "--host", "127.0.0.1", "--port", str(port)),
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        try:
            told = {"documented": "LightGBM, one worker", "tuned": "ONNX on the event loop, one worker, no metrics"}
            announce(port, "/readyz", settings=told[chosen])
            process.wait()
        finally:
            process.terminate()
            process.wait(30)


if __name__ == "__main__":
    main("tuned" if "tuned" in sys.argv[1:] else "documented")
