"""`stanchion drill report` as a person runs it against a running system, placed as one process and as two."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MODEL = "customer-churn-v2"
LADDER = ["primary", "simple", "rule", "default"]
# A customer of whom every rung, the rule too, says something.
FEATURES = {"customer_id": "1", "tenure_months": 30, "monthly_charges": 89.99, "contract": "two_year"}
SMALL = ("--rate", "40", "--seconds", "2")


@pytest.fixture
def report(system: Any, run_command: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., Any]:
    def run(*more: str | Path) -> subprocess.CompletedProcess[str]:
        words = ("drill", "report", MODEL, "--url", system.url, "--data", system.data, *SMALL, *more)
        return run_command(*words, cwd=system.data)

    return run


def test_the_whole_ladder_falls_and_recovers_without_a_failed_call(
    system: Any, report: Callable[..., Any], until: Callable[..., None], tmp_path: Path
) -> None:
    image = pytest.importorskip("matplotlib.image", reason="the extra `train` is not installed")
    picture = tmp_path / "drill.png"
    done = report("--features", json.dumps(FEATURES), "--output", picture, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["model"], told["rungs"], told["failed"]) == (MODEL, LADDER, 0)
    phases = {each["phase"]: each for each in told["phases"]}
    assert list(phases) == [
        "all rungs",
        "without primary",
        "without primary, simple",
        "without primary, simple, rule",
        "recovery",
        "all rungs again",
    ]
    for struck, rung in enumerate(LADDER):
        name = f"without {', '.join(LADDER[:struck])}" if struck else "all rungs"
        # A struck rung answers nothing from the first call on. One that is not may be late on a busy machine.
        assert rung in phases[name]["rungs"], name
        assert set(LADDER[:struck]).isdisjoint(phases[name]["rungs"]), name
        assert phases[name]["p95_ms"] > 0
    assert "primary" in phases["all rungs again"]["rungs"]
    assert all(each["calls"] > 0 and each["failed"] == 0 for each in told["phases"])

    pixels = image.imread(picture)
    assert pixels.shape[:2] == (600, 1080)
    assert pixels[..., :3].std() > 0.05, "the picture is empty"

    drills = system.ask("GET", "/v1/serving/drills").json["data"]
    # One drill in the first phase, two in the second, three in the third.
    assert sorted(each["rung"] for each in drills) == [*["primary"] * 3, "rule", *["simple"] * 2]
    until(lambda: system.predict(FEATURES).json["served_by"] == "primary")


def test_a_report_that_may_not_drill_says_so_and_draws_nothing(
    system: Any, report: Callable[..., Any], tmp_path: Path
) -> None:
    made = system.ask("POST", "/v1/keys", {"name": "shop", "roles": ["predictor"], "scopes": ["serving:read"]})
    key, picture = tmp_path / "shop.key", tmp_path / "drill.png"
    key.write_text(made.json["secret"])
    refused = report("--key-file", key, "--features", json.dumps(FEATURES), "--output", picture)
    assert refused.returncode != 0
    assert "serving:drill" in refused.stderr
    assert not picture.exists()
    assert system.predict(FEATURES).json["served_by"] == "primary"
