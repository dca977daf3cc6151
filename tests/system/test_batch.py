"""`stanchion batch` as a person runs it, on the churn example: killed, resumed, listed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pyarrow = pytest.importorskip("pyarrow", reason="the extra `batch` is not installed")

ROOT = Path(__file__).resolve().parents[2]
SYSTEM = ROOT / "examples" / "churn" / "system.py"
MODEL = "customer-churn-v2"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """20,000 customers, one of them with a tenure that cannot be."""
    import pyarrow.parquet

    count = 20_000
    columns: dict[str, Any] = {
        "customer_id": [f"c{n}" for n in range(count)],
        "tenure_months": [n % 72 if n != 777 else -1 for n in range(count)],
        "monthly_charges": [20.0 + n % 90 for n in range(count)],
        "contract": [("month_to_month", "one_year", "two_year")[n % 3] for n in range(count)],
    }
    path = tmp_path / "customers.parquet"
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def test_a_table_is_predicted_killed_and_resumed(
    data: Path, table: Path, tmp_path: Path, run_command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    import pyarrow.parquet

    output = tmp_path / "scores.parquet"
    words = ["batch", SYSTEM, MODEL, "--input", table, "--output", output, "--data", data, "--chunk", "100"]
    first = [sys.executable, "-m", "stanchion", *map(str, words)]
    with subprocess.Popen(first, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if " 500 of" in line:
                child.send_signal(signal.SIGKILL)
                break
    assert not output.exists()
    [job] = json.loads(run_command("batches", "list", "--data", data, "--json", cwd=tmp_path).stdout)
    assert job["state"] == "interrupted"
    refused = run_command(*words, cwd=tmp_path)
    assert refused.returncode == 1
    assert "--resume" in refused.stderr
    done = run_command(*words, "--resume", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["id"], told["state"], told["rows"], told["quarantined"]) == (job["id"], "done", 20_000, 1)
    assert told["report"]["reference"].startswith("the training of customer-churn-v2")
    found = pyarrow.parquet.read_table(output)
    assert found.column("row_number").to_pylist() == [n for n in range(1, 20_001) if n != 778]
    assert set(found.column_names) == {"row_number", "customer_id", "prediction", "probability"}
    again = run_command(*words, cwd=tmp_path)
    assert again.returncode == 0
    assert "done before" in again.stdout
    shown = run_command("batches", "show", job["id"], "--data", data, cwd=tmp_path)
    assert "scores.quarantine.parquet" in shown.stdout
    ended = run_command("batches", "cancel", job["id"], "--data", data, cwd=tmp_path)
    assert ended.returncode == 1
    assert "ended already" in ended.stderr
    assert run_command("audit", "verify", "--data", data, cwd=tmp_path).returncode == 0


def test_wrong_use_is_told_with_the_next_step(
    data: Path, table: Path, tmp_path: Path, run_command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    output = tmp_path / "scores.parquet"
    words = ["batch", SYSTEM, MODEL, "--input", table, "--output", output, "--data", data]
    for more, told in (
        (["--extra", "drop"], "none of refuse, ignore, keep"),
        (["--chunk", "1"], "chunk_rows"),
        (["--keep", "colour"], "colour"),
        (["--time", "tenure_months"], "looks no features up"),
    ):
        refused = run_command(*words, *more, cwd=tmp_path)
        assert refused.returncode == 2, refused.stderr
        assert told in refused.stderr
        assert "next:" in refused.stderr
    assert not output.exists()


def test_the_server_touches_no_file_unless_it_is_configured_to(
    data: Path, table: Path, start: Callable[..., Any]
) -> None:
    running = start(data)
    body = {"model_id": MODEL, "input": str(table), "output": str(table.with_name("scores.csv"))}
    refused = running.ask("POST", "/v1/serving/batches", body)
    assert refused.status == 422
    assert "batch_folders" in refused.json["next_step"]


def test_the_server_works_jobs_off_in_the_background(
    data: Path, table: Path, start: Callable[..., Any], until: Callable[..., None]
) -> None:
    running = start(data, env={"STANCHION_SERVING__BATCH_FOLDERS": json.dumps([str(table.parent)])})
    body = {"model_id": MODEL, "input": str(table), "output": str(table.with_name("scores.csv"))}
    queued = running.ask("POST", "/v1/serving/batches", body)
    assert queued.status == 202, queued.content
    path = f"/v1/serving/batches/{queued.json['id']}"
    until(lambda: running.ask("GET", path).json["state"] in ("done", "failed"))
    job = running.ask("GET", path).json
    assert (job["state"], job["rows"], job["quarantined"]) == ("done", 20_000, 1)
    assert (table.parent / "scores.csv").read_text().count("\n") == 20_000
    events = running.ask("GET", "/v1/audit/events?limit=50").json
    assert [event["outcome"] for event in events if event["action"] == "serving:batch"] == ["done", "done"]
