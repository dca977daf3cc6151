"""`stanchion rollout` and `stanchion drill`: what their arguments mean, and what a drill's report tells."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stanchion.app.commands.drill import seconds_of
from stanchion.app.commands.drill_report import Phase, Seen, draw, example, summary
from stanchion.app.commands.rollouts import _guard, _step
from stanchion.core.errors import InvalidInput
from stanchion.serving import Guard, RolloutStep


def test_steps_and_guards_are_read() -> None:
    assert _step("5:600:200") == RolloutStep(5, 600, 200)
    assert _guard("errors:0.01") == Guard("errors", 0.01)
    assert _guard("slow:0.05:0.2:proof") == Guard("slow", 0.05, limit=0.2, proof=True)


@pytest.mark.parametrize("text", ["5", "5:600", "a:b:c", "5:600:200:1", ""])
def test_what_is_no_step_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        _step(text)


@pytest.mark.parametrize("text", ["errors", "speed:1", "errors:x", "errors:1:2:3", "proof", ""])
def test_what_is_no_guard_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        _guard(text)


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("2m", 120), ("500ms", 0.5), ("45", 45), ("1.5s", 1.5)])
def test_lengths_of_time_are_read(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-3s", "3h", "1e3s"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        seconds_of(text)


def test_an_instance_is_made_from_the_schema() -> None:
    properties: dict[str, Any] = {
        "name": {"type": "string", "minLength": 2},
        "months": {"type": "integer", "minimum": 3},
        "kind": {"enum": ["a", "b"]},
        "paid": {"type": "boolean"},
        "share": {"type": "number", "default": 0.5},
        "left": {"type": "string"},
    }
    made = example({"properties": properties, "required": ["name", "months", "kind", "paid", "share"]})
    assert made == {"name": "xx", "months": 3, "kind": "a", "paid": False, "share": 0.5}
    with pytest.raises(InvalidInput):
        example({"properties": {"x": {"type": "array"}}, "required": ["x"]})


def seen() -> Seen:
    answers = [(at / 10, "primary" if at < 20 else "simple" if at < 39 else "failed", 0.002) for at in range(40)]
    phases = [Phase("all rungs", 0.0, ()), Phase("without primary", 2.0, ("primary",))]
    return Seen(answers, [(0.0, 1.0), (2.1, 0.0)], phases, Counter({503: 1}))


def test_a_report_tells_shares_and_failures_by_phase() -> None:
    before, after = summary(seen())
    assert (before.phase, before.calls, before.failed, dict(before.rungs)) == ("all rungs", 20, 0, {"primary": 1.0})
    assert (after.calls, after.failed, dict(after.rungs), after.p95_ms) == (20, 1, {"simple": 0.95}, 2.0)


def test_a_report_draws_its_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra `train` is not installed")
    draw(seen(), ["primary", "simple"], "churn", tmp_path / "drill.png")
    assert (tmp_path / "drill.png").read_bytes().startswith(b"\x89PNG")
