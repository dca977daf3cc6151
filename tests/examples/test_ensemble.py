"""The ensemble example answers as its page says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stanchion.core.declaration import load_declarations
from stanchion.serving import Serving
from stanchion.testing.offline import offline

FILE = Path(__file__).resolve().parents[2] / "examples" / "ensemble" / "system.py"
LOAN = {"income": 50_000, "amount": 60_000, "years": 30}


@pytest.mark.parametrize(
    ("model", "instance", "verdict", "risk"),
    [
        ("vote", LOAN, "low", 2 / 3),
        ("blend", LOAN, "low", (3 * 0.04 + 2 * 0.4 + 0.75) / 6),
        ("stack", LOAN, "low", 0.04 * 0.75 + 0.4 * 0.25),
        ("euros", {"income_eur": 50_000, "amount_eur": 60_000, "years": 30}, "low", 0.28),
        ("regional", {**LOAN, "region": "south"}, "low", 2 / 3),
        ("regional", LOAN, "low", (3 * 0.04 + 2 * 0.4 + 0.75) / 6),
    ],
)
async def test_models_of_models_answer_as_declared(
    model: str, instance: dict[str, Any], verdict: str, risk: float
) -> None:
    system: Any = load_declarations(FILE)
    async with offline(system) as running:
        answer = await running.door(Serving).predict(running.ctx, model, [instance])
    assert dict(answer.items[0].values) == {"verdict": verdict, "risk": pytest.approx(risk, abs=1e-6)}
    assert answer.served_by == "primary"
