"""Serves the mock upstream through LiteLLM's proxy: one worker, its key checked, no database.

benchmarks/gateway/calls.py starts it with LiteLLM's own Python, the upstream in BENCH_UPSTREAM. The settings are those
that its documentation names for production, where they need no further server: LITELLM_MODE and LITELLM_LOG. What it
writes to its output goes nowhere.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from listening import announce, free_port

KEY = "sk-benchmark"
SETTINGS = "one worker, master key, no database, LITELLM_MODE=PRODUCTION, LITELLM_LOG=ERROR"


def config(upstream: str) -> str:
    """The configuration; JSON is YAML."""
    models = [
        {
            "model_name": name,
            "litellm_params": {"model": f"openai/{name}", "api_base": f"{upstream}/{delay}/v1", "api_key": "none"},
        }
        for name, delay in (("at-once", 0), ("in-20-ms", 20))
    ]
    return json.dumps({"model_list": models, "general_settings": {"master_key": KEY}})


def main() -> int:
    port = free_port()
    env = {
        **os.environ,
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
        # Else it fetches its table of prices.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "NO_DOCS": "True",
    }
    with tempfile.TemporaryDirectory(prefix="stanchion-bench-") as folder:
        file = Path(folder) / "config.yaml"
        file.write_text(config(os.environ["BENCH_UPSTREAM"]))
        command = [Path(sys.executable).with_name("litellm"), "--config", file, "--host", "127.0.0.1"]
        command += ["--port", str(port), "--num_workers", "1", "--telemetry", "False"]
        process = subprocess.Popen([str(part) for part in command], env=env, cwd=folder, stdout=subprocess.DEVNULL)
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        announce(port, "/health/liveliness", settings=SETTINGS, key=KEY)
        return process.wait()


if __name__ == "__main__":
    sys.exit(main())
