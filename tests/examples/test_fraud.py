"""The fraud example on real transactions: what a prediction reads online is what training reads offline."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas
import pytest

from stanchion.core.declaration import load_declarations
from stanchion.core.errors import InvalidInput
from stanchion.features import Features
from stanchion.serving import Serving, Truth
from stanchion.testing import offline
from stanchion.testing.clock import FakeClock

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "fraud_detection"
LIVE = 300


@pytest.fixture
def transactions() -> Path:
    folder = os.environ.get("STANCHION_TEST_DATA")
    path = Path(folder or ".") / "fraud_transactions_2k.csv"
    if folder is None or not path.is_file():
        pytest.skip("STANCHION_TEST_DATA names no folder with fraud_transactions_2k.csv")
    return path


@pytest.fixture
def payments(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    import importlib

    return importlib.import_module("payments")


def declared(monkeypatch: pytest.MonkeyPatch, folder: Path, file: Path) -> Any:
    """The system over one file, with its table in a folder of the test's own."""
    monkeypatch.setenv("FRAUD_PAYMENTS", str(file))
    monkeypatch.setenv("FRAUD_DATA", str(folder))
    app = load_declarations(FOLDER / "system.py")
    return app, sys.modules["stanchion_system_file"]


def split(payments: ModuleType, file: Path, folder: Path) -> tuple[Path, Sequence[Any]]:
    """All but the newest transactions as a file, and the newest, to be lived through one by one."""
    lines = file.read_text().splitlines()
    order = sorted(lines[1:], key=lambda line: line.split(",")[1])
    past, live = folder / "past.csv", folder / "live.csv"
    past.write_text("\n".join([lines[0], *order[:-LIVE]]))
    live.write_text("\n".join([lines[0], *order[-LIVE:]]))
    return past, list(payments.read_file(live).itertuples())


async def test_every_logged_vector_equals_the_offline_join(
    transactions: Path, payments: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    past, live = split(payments, transactions, tmp_path)
    app, module = declared(monkeypatch, tmp_path, past)
    clock = FakeClock(live[0].at.to_pydatetime())
    # The clock runs through weeks of payments: nothing of them may grow old meanwhile.
    kept = {"features": {"log_days": 365}}
    async with offline(app, train=["fraud"], file=FOLDER / "system.py", clock=clock, settings=kept) as running:
        features, serving = running.door(Features), running.door(Serving)
        stored = [step.rows async for step in features.materialise(running.ctx, "card_spending")]
        assert sum(stored) == len(past.read_text().splitlines()) - 1
        truths, rungs = [], []
        for number, row in enumerate(live):
            clock.advance((row.at.to_pydatetime() - clock.now()).total_seconds() if row.at > clock.now() else 0)
            ctx = replace(running.ctx, request_id=f"{number:024x}")
            asked = {"card_id": row.card_id, "amount": row.amount, "category": row.category, "merchant": row.merchant}
            answer = await serving.predict(ctx, "fraud", [asked])
            rungs.append(answer.served_by)
            if not pandas.isna(row.fraud):
                truths.append(Truth(ctx.request_id, label=int(row.fraud)))
            clock.advance(1)
            known = row.known_at.to_pydatetime()
            paid = module.Paid(
                **{**asked, "payment_id": row.payment_id, "at": row.at.to_pydatetime(), "known_at": known}
            )
            assert await module.paid.push(running.ctx, paid) == 1
        # A card that has paid nothing for sixty days has no behaviour: it is left to the rung that reads none.
        assert set(rungs) <= {"primary", "rule", "default"}
        assert rungs.count("primary") > LIVE * 0.9
        async with asyncio.timeout(60):
            # Vectors are logged behind the answers.
            while (report := await features.skew(running.ctx, "card_behaviour", limit=LIVE)).compared < LIVE:
                await asyncio.sleep(0.05)
        assert (report.compared, report.different) == (LIVE, 0), report
        noted = await serving.feedback(running.ctx, truths)
        assert {each.status for each in noted} == {"stored"}
        [quality] = (await serving.quality(running.ctx, "fraud")).versions
        assert quality.labelled == len(truths)


async def test_a_model_learns_from_the_generated_stream(
    payments: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payments, "CARDS", 120)
    monkeypatch.delenv("FRAUD_PAYMENTS", raising=False)
    monkeypatch.setenv("FRAUD_DATA", str(tmp_path))
    payments.table(None, tmp_path, now=datetime(2026, 6, 1, tzinfo=UTC))
    app = load_declarations(FOLDER / "system.py")
    async with offline(app, train=["fraud"], file=FOLDER / "system.py") as running:
        [version] = await running.door(_registry()).versions(running.ctx, "fraud")
        assert version.metrics["roc_auc"] > 0.9
        assert version.metadata["features"]["service"] == "card_behaviour"


def _registry() -> Any:
    from stanchion.registry import Registry

    return Registry


def test_labels_of_the_newest_month_are_left_out(payments: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payments, "CARDS", 60)
    frame = payments.generated(7, datetime(2026, 6, 1, tzinfo=UTC))
    kept = payments.ripe(frame)
    assert kept["at"].max() <= frame["known_at"].max() - timedelta(days=payments.LABEL_DAYS)
    assert kept["fraud"].isna().sum() == 0
    assert (frame["known_at"] > frame["at"]).all()


def test_a_file_with_other_columns_is_refused(payments: ModuleType, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    with pytest.raises(InvalidInput, match="EVENT_ID"):
        payments.read_file(other)
