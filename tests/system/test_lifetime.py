"""How a served system begins and ends: the first start, signals, a second start on the same folder."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
MODEL = "customer-churn-v2"
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "churn" / "system.py"
SLOW = """
import asyncio
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from stanchion import System

app = System("slow")
HERE = Path(__file__).parent


class In(BaseModel):
    number: int


class Out(BaseModel):
    double: int


@app.model("slow", timeouts={"primary": 50})
async def slow(items: Sequence[In]) -> list[Out]:
    (HERE / "begun").touch()
    while not (HERE / "go").exists():
        await asyncio.sleep(0.01)
    return [Out(double=2 * item.number) for item in items]
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_request_that_runs_when_the_signal_comes_is_answered(
    name: str, tmp_path: Path, start: Callable[..., Any], until: Callable[..., None]
) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    running = start(tmp_path / "data", file=tmp_path / "slow.py")
    answers: list[Any] = []
    ask = {"model_id": "slow", "features": {"number": 3}}
    client = threading.Thread(target=lambda: answers.append(running.ask("POST", "/v1/predictions", ask)))
    client.start()
    until(lambda: (tmp_path / "begun").exists())
    running.process.send_signal(getattr(signal, name))
    until(lambda: refuses(running))
    assert running.process.poll() is None
    (tmp_path / "go").touch()
    client.join()
    assert (answers[0].status, answers[0].json["double"]) == (200, 6)
    assert running.process.wait(60) == 0
    assert "Traceback" not in running.errors()


def refuses(running: Any) -> bool:
    try:
        running.ask("GET", "/healthz", key=None)
    except ConnectionError:
        return True
    return False


def begun(data: Path, *arguments: str) -> subprocess.Popen[str]:
    """The example, from its first start on, with what it says to people."""
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "stanchion", "run", str(EXAMPLE), "--data", str(data), "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_first_start_trains_promotes_and_tells_people_where_it_is(tmp_path: Path, run_command: Run) -> None:
    with begun(tmp_path) as process:
        assert process.stdout is not None and process.stderr is not None
        errors = threading.Thread(target=process.stderr.read)
        errors.start()
        lines = []
        for line in process.stdout:
            lines.append(line.rstrip())
            if "Ctrl-C stops." in line:
                break
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        errors.join()
    text = "\n".join(lines)
    assert f"{MODEL} 1.0.0: trained on" in text
    assert "ROC AUC" in text and "calibration" in text and "picture" in text
    for name in ("API      http://127.0.0.1:", "Console  http://127.0.0.1:", "Docs     http://127.0.0.1:"):
        assert name in text
    assert f"Key      {tmp_path / 'dev.key'}" in text
    assert (tmp_path / "dev.key").stat().st_mode & 0o777 == 0o600
    listed = run_command("models", "list", "--data", tmp_path, "--json", cwd=tmp_path)
    assert json.loads(listed.stdout)[0]["production"] == "1.0.0"


def test_a_start_that_is_stopped_while_it_trains_ends_in_order(
    tmp_path: Path, run_command: Run, until: Callable[..., None]
) -> None:
    with begun(tmp_path) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "training" in line:
                break
        until(lambda: bool(workers(process.pid)))
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert "Traceback" not in process.stderr.read()
        assert workers(process.pid) == []
    verified = run_command("audit", "verify", "--data", tmp_path, cwd=tmp_path)
    assert verified.returncode == 0, verified.stdout
    shown = run_command("models", "list", "--data", tmp_path, "--json", cwd=tmp_path)
    assert json.loads(shown.stdout) == []


def workers(parent: int) -> list[str]:
    found = subprocess.run(["pgrep", "-P", str(parent)], capture_output=True, text=True, check=False)
    return found.stdout.split()


def test_without_training_the_declared_answers_are_given_and_say_so(tmp_path: Path, start: Callable[..., Any]) -> None:
    running = start(tmp_path / "data", "--no-train")
    default = running.predict({"customer_id": "1", "tenure_months": 1, "monthly_charges": 10})
    assert (default.status, default.json["served_by"], default.json["model_version"]) == (200, "default", "none")
    ruled = running.predict({"customer_id": "1", "tenure_months": 30, "monthly_charges": 10, "contract": "two_year"})
    assert (ruled.status, ruled.json["served_by"], ruled.json["prediction"]) == (200, "rule", "low_risk")
    assert running.ask("GET", f"/v1/serving/models/{MODEL}").json["version"] is None
    assert running.stop() == 0
    assert running.process.stdout.read() == ""  # after the one ready line, nothing


def test_two_servers_on_one_folder_serve_as_one_system(
    data: Path, tmp_path: Path, start: Callable[..., Any], run_command: Run, until: Callable[..., None]
) -> None:
    first = start(data)
    second = start(data)
    assert first.url != second.url
    made = first.ask("POST", "/v1/keys", {"name": "shared", "roles": ["predictor"]}).json
    assert second.predict(key=made["secret"]).status == 200
    errors: list[Any] = []

    def write(one: Any) -> None:
        for number in range(10):
            answer = one.ask("POST", "/v1/keys", {"name": f"k{number}", "roles": ["viewer"]})
            errors.extend([] if answer.status == 201 else [answer.content])

    threads = [threading.Thread(target=write, args=(one,)) for one in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert second.ask("DELETE", f"/v1/keys/{made['id']}").status == 200
    until(lambda: first.predict(key=made["secret"]).status == 401)
    promoted = first.ask(
        "POST", f"/v1/models/{MODEL}/promotions", {"version": "1.0.0", "to": "staging", "evidence": "x"}
    )
    assert promoted.status in (200, 201), promoted.content
    until(lambda: second.ask("GET", f"/v1/serving/models/{MODEL}").json["stage"] == "staging")
    assert first.stop() == 0
    assert second.predict().status == 200
    assert second.stop() == 0
    verified = run_command("audit", "verify", "--data", data, "--json", cwd=data)
    assert verified.returncode == 0, verified.stdout
