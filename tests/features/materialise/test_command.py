"""`stanchion features`: what a person or a machine at the command line gets."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.features.materialise.running import payments, write

SYSTEM = """
from datetime import datetime, timedelta

from pydantic import BaseModel

from stanchion import System
from stanchion.features import Table, count, total


class Payment(BaseModel):
    card: str
    at: datetime
    known: datetime
    id: str
    amount: float


class Spending(BaseModel):
    amount: float
    payments_7d: int
    spent_30d: float


app = System("shop")
payments = app.source(
    "payments", Payment, time="at", known="known", event="id", table=Table("parquet", "table/*.parquet")
)
spending = app.features(
    "spending",
    Spending,
    entity="card",
    ttl=timedelta(days=36500),
    source=payments,
    aggregates={"payments_7d": count(days=7), "spent_30d": total("amount", days=30)},
)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "system.py").write_text(SYSTEM)
    write(tmp_path, payments(200))
    return tmp_path


def stanchion(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stanchion", "features", words[0], "system.py", *words[1:]]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_view_is_materialised_and_then_up_to_date(folder: Path) -> None:
    done = stanchion(folder, "materialise", "spending", "--start", "2026-02-26", "--end", "2026-03-02T00:00:00Z")
    assert done.returncode == 0, done.stderr
    rows = len(payments(200))
    assert done.stdout == f"spending: {rows} rows in 4 partitions\n"
    assert done.stderr.splitlines()[-1].startswith("spending: 100% 2026-03-01 00:00 ")
    done = stanchion(folder, "backfill", "spending", "--start", "2026-02-27", "--end", "2026-02-28", "--json")
    told = json.loads(done.stdout)
    assert (told["view"], told["partitions"], told["skipped"]) == ("spending", 1, 0)
    assert 0 < told["rows"] < rows
    assert done.stderr == ""


def test_wrong_use_is_told(folder: Path) -> None:
    for words, said in (
        (("materialise", "none"), "no feature view is declared as 'none'"),
        (("materialise", "spending", "--start", "soon"), "--start is no moment: 'soon'"),
        (("backfill", "spending"), "Missing option '--start'"),
    ):
        done = stanchion(folder, *words)
        assert done.returncode == 2
        assert said in done.stderr
