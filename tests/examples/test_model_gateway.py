"""The gateway example: its table of routes runs as given, with providers that are well, failing and away."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from stanchion.core.declaration import load_declarations
from stanchion.gateway import CascadeSpec, RouteSpec
from stanchion.testing import no_network, offline

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "model_gateway"


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> Any:
    return loaded("try_it", monkeypatch)


def loaded(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    for variable in ("FIRST_URL", "SECOND_URL"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_routes_is_the_declared_one() -> None:
    routes = load_declarations(FOLDER / "system.py").of(RouteSpec)
    assert [(each.name, each.max_latency_ms, each.max_cost) for each in routes] == [
        ("simple-classification", 500, "0.001"),
        ("complex-reasoning", 5_000, "0.05"),
        ("code-generation", 10_000, "0.10"),
    ]
    assert [(each.primary, each.fallbacks[0]) for each in routes] == [
        ("small", "quick"), ("deep", "large"), ("large", "deep")
    ]  # fmt: skip


async def test_every_route_is_answered_whoever_fails(tried: Any) -> None:
    lines = await tried.main()
    assert len(lines) == 9
    for state, route, who, cost in lines:
        # A short route may be answered by a later model on a slow machine; by an earlier one never.
        if state == "both fail":
            assert (who, cost) == ("fallback-2: quoter at here", "0.000000")
        elif route != "simple-classification":
            failed = state == "first fails"
            expected = {"complex-reasoning": "deep", "code-generation": "deep" if failed else "large"}[route]
            assert f" {expected} at " in who
            assert 0 < float(cost) <= 0.10


async def test_with_no_provider_at_all_the_built_in_model_quotes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRST_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("SECOND_URL", "http://127.0.0.1:9")
    app: Any = load_declarations(FOLDER / "system.py")
    with no_network() as left:
        async with offline(app) as run:
            asked = [{"role": "user", "content": "The shop opens at nine.\nWhen does it open?"}]
            answer = await app._handles["route:complex-reasoning"].chat(run.ctx, asked)
    assert "\u201cThe shop opens at nine.\u201d" in answer["choices"][0]["message"]["content"]
    assert left == []


async def test_the_batch_tells_of_each_line_and_of_its_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = await loaded("batch", monkeypatch).main()
    assert lines[0] == "completed: 2 answered, 2 refused"
    # A slow machine may pass the half second of the first route: then the next model answers.
    assert lines[1].startswith("  returns: ")
    assert lines[2:5] == ["  opening: scripted: at nine", "  card: 403 not_allowed", "  nobody: 404 not_found"]
    [cost] = [line for line in lines if line.startswith("job questions: $")]
    assert 0 < float(cost.rpartition("$")[2]) < 0.01


async def test_the_cascade_report_calibrates_and_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = loaded("cascade_report", monkeypatch)
    monkeypatch.setattr(module, "QUESTIONS", 60)
    monkeypatch.setattr(module, "FLOOR", 0.7)
    assert await module.main(tmp_path) == 0
    found = json.loads((tmp_path / "answers.json").read_text())
    assert (found["floor"], found["examples"], len(found["thresholds"])) == (0.7, 60, 1)
    assert (tmp_path / "answers.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setenv("ANSWERS_CALIBRATION", str(tmp_path / "answers.json"))
    [cascade] = load_declarations(FOLDER / "system.py").of(CascadeSpec)
    assert cascade.calibration is not None
    assert list(cascade.calibration.thresholds) == found["thresholds"]
