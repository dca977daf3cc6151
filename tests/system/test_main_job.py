"""The main job, from outside, as one process and as two: predict, promote, look, audit."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

MODEL = "customer-churn-v2"
REQUEST = b'{"model_id": "customer-churn-v2", "features": {"customer_id": "12345", "tenure_months": 24, "monthly_charges": 89.99}}'  # noqa: E501


def test_the_documented_request_is_answered_word_for_word(system: Any) -> None:
    answer = system.ask("POST", "/v1/predictions", REQUEST)
    assert answer.status == 200, answer.content
    body = answer.json
    assert body["prediction"] in ("low_risk", "medium_risk", "high_risk")
    assert 0 <= body["probability"] <= 1
    assert body["model_version"] == "1.0.0"
    assert body["served_by"] == "primary"
    assert body["latency_ms"] > 0
    assert body["request_id"] == answer.headers["x-request-id"]
    assert len(body["trace_id"]) == 32


def test_one_bad_value_is_named_by_its_path(system: Any) -> None:
    answer = system.predict({"customer_id": "1", "tenure_months": -1, "monthly_charges": 10})
    assert answer.status == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [e["path"] for e in answer.json["errors"]] == ["$.features.tenure_months"]


def test_an_unknown_model_and_a_foreign_version_are_not_found(system: Any) -> None:
    for name in ("nothing", f"{MODEL}@9.9.9", f"{MODEL}@nowhere"):
        assert system.ask("POST", "/v1/predictions", {"model_id": name, "features": {}}).status == 404


def test_a_model_answers_by_alias_and_by_version(system: Any) -> None:
    for name in (MODEL, f"{MODEL}@latest", f"{MODEL}@1.0.0"):
        features = {"customer_id": "1", "tenure_months": 2, "monthly_charges": 10}
        answer = system.ask("POST", "/v1/predictions", {"model_id": name, "features": features})
        assert (answer.status, answer.json["model_version"]) == (200, "1.0.0")


def test_promotion_swaps_the_version_without_a_failed_request(
    system: Any,
    run_command: Callable[..., subprocess.CompletedProcess[str]],
    until: Callable[..., None],
    tmp_path: Path,
) -> None:
    new = _second_version(system, run_command, tmp_path)
    statuses: list[int] = []
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            statuses.append(system.predict().status)

    worker = threading.Thread(target=load)
    worker.start()
    try:
        done = system.ask(
            "POST", f"/v1/models/{MODEL}/promotions", {"version": new, "to": "production", "evidence": "better AUC"}
        )
        assert done.status in (200, 201), done.content
        until(lambda: system.predict().json["model_version"] == new)
        old = system.ask(
            "POST", f"/v1/models/{MODEL}/promotions", {"version": "1.0.0", "to": "production", "evidence": "x"}
        )
        assert old.status in (200, 201), old.content
        until(lambda: system.predict().json["model_version"] == "1.0.0")
        assert system.ask("POST", f"/v1/models/{MODEL}/rollback", {"reason": "drill"}).status == 200
        until(lambda: system.predict().json["model_version"] == new)
    finally:
        stop.set()
        worker.join()
    assert len(statuses) > 20
    assert set(statuses) == {200}


def _second_version(system: Any, run_command: Callable[..., subprocess.CompletedProcess[str]], folder: Path) -> str:
    """Train on other data beside the running system, from the command line."""
    example = Path(__file__).resolve().parents[2] / "examples" / "churn"
    copy = folder / "other"
    copy.mkdir()
    for file in example.glob("*.py"):
        text = file.read_text()
        (copy / file.name).write_text(text.replace("seed=7", "seed=8") if file.name == "system.py" else text)
    done = run_command("train", copy / "system.py", MODEL, "--data", system.data, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    version: str = json.loads(done.stdout)["version"]
    assert version == "1.1.0"
    return version


def test_every_request_is_in_the_ledger_and_every_effect_in_the_audit_log(
    system: Any, until: Callable[..., None]
) -> None:
    asked = [system.predict().json["request_id"] for _ in range(20)]

    def all_there() -> bool:
        rows = system.ask("GET", "/v1/telemetry/requests?limit=100").json["items"]
        found = {row["request_id"]: row for row in rows}
        return all(found.get(one, {}).get("rung") == "primary" for one in asked)

    until(all_there)
    made = system.ask("POST", "/v1/keys", {"name": "reader", "roles": ["viewer"]})
    assert made.status == 201
    events = system.ask("GET", "/v1/audit/events").json
    assert events[0]["action"] == "keys:create" and events[0]["outcome"] == "done"
    report = system.ask("POST", "/v1/audit/verify").json
    assert report["ok"], report


def test_a_stopped_system_finishes_what_it_was_asked_and_ends_with_zero(system: Any) -> None:
    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(system.predict().status)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [200] * 8
    assert system.stop() == 0


def test_a_killed_system_starts_again_with_all_it_had(
    system: Any, start: Callable[..., Any], run_command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    secret = system.ask("POST", "/v1/keys", {"name": "kept", "roles": ["predictor"]}).json["secret"]
    system.process.send_signal(signal.SIGKILL)
    system.process.wait()
    for other in system.others:
        other.stop()
    again = start(system.data)
    assert again.predict(key=secret).status == 200
    assert again.stop() == 0
    verified = run_command("audit", "verify", "--data", system.data, "--json", cwd=system.data)
    assert verified.returncode == 0, verified.stdout
