"""The same file on server engines: state, ledger and audit log on PostgreSQL, small values on Redis."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

MODEL = "customer-churn-v2"


def test_the_example_runs_on_server_engines_and_keeps_its_state(
    tmp_path: Path,
    start: Callable[..., Any],
    run_command: Callable[..., subprocess.CompletedProcess[str]],
    postgres_url: str,
    redis_url: str,
    redis_prefix: str,
) -> None:
    environment = {
        "STANCHION_BACKEND__SQL__USE": "postgres",
        "STANCHION_BACKEND__SQL__URL": postgres_url,
        "STANCHION_BACKEND__TELEMETRY__USE": "postgres",
        "STANCHION_BACKEND__TELEMETRY__URL": postgres_url,
        "STANCHION_BACKEND__KEYVALUE__USE": "redis",
        "STANCHION_BACKEND__KEYVALUE__URL": f"{redis_url}?prefix={redis_prefix}",
    }
    data = tmp_path / "data"
    running = start(data, env=environment)
    answer = running.predict()
    assert (answer.status, answer.json["served_by"], answer.json["model_version"]) == (200, "primary", "1.0.0")
    made = running.ask("POST", "/v1/keys", {"name": "kept", "roles": ["predictor"]}).json
    assert running.ask("POST", "/v1/audit/verify").json["ok"]
    assert running.stop() == 0
    assert not (data / "state.db").exists()

    # What the database holds is enough: the files beside it are keys, checkpoints and model files.
    shutil.rmtree(data / "training")
    again = start(data, env=environment)
    assert again.predict(key=made["secret"]).json["model_version"] == "1.0.0"
    rows = again.ask("GET", "/v1/telemetry/requests?limit=100").json["items"]
    assert any(row["subject"] == MODEL for row in rows)
    assert again.stop() == 0
    verified = run_command("audit", "verify", "--data", data, "--json", cwd=tmp_path, env=environment)
    assert verified.returncode == 0, verified.stdout + verified.stderr
