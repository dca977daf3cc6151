"""The example of nightly segments: its answer is plain arithmetic, and it can say what became of each order."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context, Rights
from stanchion.core.declaration import load_declarations
from stanchion.core.settings import HouseSettings
from stanchion.pipelines import Pipelines
from stanchion.system.house import House

pytest.importorskip("pandera", reason="the extra `checks` is not installed")
FOLDER = Path(__file__).resolve().parents[2] / "examples" / "nightly_segments"
CTX = Context("default", "user:ada", Rights(roles=frozenset({"admin"})))
DAY = date(2026, 3, 1)


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setenv("SEGMENTS_REPORTS", str(tmp_path / "reports"))
    declared = load_declarations(FOLDER / "system.py")
    found = await House.open(HouseSettings(), tmp_path, clock=SystemClock(), environment={}, declared=declared)
    await found.start()
    yield found
    await found.close()


async def ended(door: Pipelines, run: str) -> Any:
    found = await door.wait(CTX, run, seconds=120)
    assert found.ended is not None
    return found


async def test_a_night_stores_what_plain_code_computes_and_tells_of_every_order(house: House, tmp_path: Path) -> None:
    door = house.door(Pipelines)
    run = await ended(door, (await door.begin(CTX, "nightly_segments", {"day": DAY.isoformat()})).id)
    assert (run.status, run.output) == ("done", str(tmp_path / "reports" / "segments-2026-03-01.md"))

    orders = sys.modules["orders"].orders(DAY)
    good = [o for o in orders if o.customer_id and 0.01 <= o.amount <= 10_000 and o.currency == "EUR" and o.day <= DAY]
    rows = await house.foundation.stores.state.read(
        lambda c: c.execute(text("SELECT customer_id, segment FROM customer_segments")).all()
    )
    assert sorted(row.customer_id for row in rows) == sorted({order.customer_id for order in good})
    aside = await door.quarantined(CTX, run.id, limit=10_000)
    assert {row.record for row in aside} == {order.order_id for order in orders} - {order.order_id for order in good}
    assert {row.segment for row in rows} == {"lost", "loyal", "occasional", "regular"}
    [report] = (tmp_path / "reports").glob("*.md")
    assert f"Stored: {len(rows)}" in report.read_text()

    trail = await door.record(CTX, run.id, aside[0].record)
    assert [(step.stage, step.outcome) for step in trail.steps] == [
        ("extract", "produced"),
        ("validate", "quarantined"),
    ]
    customer = await door.record(CTX, run.id, rows[0].customer_id)
    assert [step.stage for step in customer.steps] == ["habits", "score", "together"]


async def test_a_dry_night_stores_and_writes_nothing(house: House, tmp_path: Path) -> None:
    door = house.door(Pipelines)
    run = await ended(door, (await door.begin(CTX, "nightly_segments", {"day": DAY.isoformat()}, dry=True)).id)
    assert (run.status, run.output) == ("done", None)
    assert {s.stage for s in await door.stages(CTX, run.id) if s.status == "skipped"} == {"store"}
    assert not (tmp_path / "reports").exists()


async def test_its_schedule_has_the_right_to_ask_the_model_and_no_other(house: House) -> None:
    [schedule] = await house.door(Pipelines).schedules(CTX)
    assert schedule.when == "30 2 * * * Europe/Berlin"
    assert schedule.next is not None
