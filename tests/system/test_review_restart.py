"""A server that waits for people is killed; started again, the run and the caller go on with what was decided."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SYSTEM = Path(__file__).resolve().parents[2] / "examples" / "loan_review" / "system.py"
UNSURE = {
    "id": "loan-x",
    "name": "Ada Example",
    "income": 38_000.0,
    "debt": 0.4,
    "years_employed": 4.0,
    "late_payments": 1,
    "amount": 12_000,
}
PROPOSAL = {"grant": True, "amount": 5_000, "rate": 7.5}
DRAFT = {"queue": "loans", "input": {"name": "Bob"}, "proposal": PROPOSAL, "key": "asked-1", "forced": True}


def test_who_waits_for_people_is_answered_after_a_kill(
    tmp_path: Path, start: Callable[..., Any], commands: Callable[..., Any], until: Callable[..., None]
) -> None:
    _survives(tmp_path, start, commands, until, kills=1)


@pytest.mark.soak
def test_who_waits_for_people_is_answered_after_many_kills(
    tmp_path: Path, start: Callable[..., Any], commands: Callable[..., Any], until: Callable[..., None]
) -> None:
    _survives(tmp_path, start, commands, until, kills=20)


def _survives(
    tmp_path: Path, start: Callable[..., Any], commands: Callable[..., Any], until: Callable[..., None], *, kills: int
) -> None:
    data = tmp_path / "data"
    running = start(data, file=SYSTEM)
    run = running.ask("POST", "/v1/pipelines/decide-loan/runs", {"inputs": UNSURE}).json["id"]
    made = commands("keys", "create", "--name", "reviewer", *_scopes(), "--data", data, "--json", cwd=data)
    assert made.returncode == 0, made.stderr
    reviewer = json.loads(made.stdout)["secret"]
    for _ in range(kills):
        waiting = threading.Thread(target=_ask, args=(running,), daemon=True)
        waiting.start()
        until(lambda running=running: len(_open(running, reviewer)) == 2)
        os.kill(running.process.pid, signal.SIGKILL)
        running.process.wait()
        waiting.join(60)
        running = start(data, file=SYSTEM)
    assert len(_open(running, reviewer)) == 2, "a key opens one item, however often the caller asks"
    answers: list[Any] = []
    again = threading.Thread(target=lambda: answers.append(_ask(running)), daemon=True)
    again.start()
    for item in _open(running, reviewer):
        [case] = running.ask("POST", "/v1/reviews/claim", {"items": [item]}, key=reviewer).json
        decision = {key: case["item"][key] for key in ("version",)} | {"digest": case["digest"], "token": case["token"]}
        edited = {**case["shown"]["proposal"], "amount": 1_000}
        body = {**decision, "verdict": "edit", "reason": "smaller-amount", "value": edited}
        settled = running.ask("POST", f"/v1/reviews/{item}/decision", body, key=reviewer)
        assert settled.status == 200, settled.content
    again.join(60)
    assert answers[0]["state"] == "decided" and answers[0]["value"]["amount"] == 1_000
    until(lambda: running.ask("GET", f"/v1/runs/{run}").json["status"] == "done")
    output = running.ask("GET", f"/v1/runs/{run}").json["output"]
    assert (output["by"], output["offer"]["amount"]) == ("people", 1_000)
    running.stop()


def _scopes() -> list[str]:
    actions = ("read", "see", "claim", "decide")
    return [part for action in actions for part in ("--scope", f"review:{action}")]


def _open(running: Any, key: str) -> list[str]:
    return [item["id"] for item in running.ask("GET", "/v1/reviews?status=open&queue=loans", key=key).json]


def _ask(running: Any) -> Any:
    """Wait for people as a client does. None where the server went away."""
    try:
        return running.ask("POST", "/v1/reviews/ask", {"draft": DRAFT, "seconds": 60}).json
    except OSError:
        return None
    except Exception as error:
        if type(error).__name__ in ("RemoteDisconnected", "IncompleteRead"):
            return None
        raise
