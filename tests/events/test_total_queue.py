"""Nothing is lost, doubled or moved while publishers and workers are killed and frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stanchion.testing.events import sqlite_url
from stanchion.testing.total_queue import Plan, Verdict, judge, play

SOAK: dict[str, Any] = {"events": 100_000, "keys": 200, "workers": 4, "kills": 60, "at_once": 100, "patience": 900.0}
SAMPLE: dict[str, Any] = {"events": 600, "keys": 12, "workers": 2, "kills": 3, "patience": 200.0}


def test_the_judge_sees_what_was_lost_doubled_made_up_and_moved() -> None:
    sent = {"a:0", "a:1", "a:2", "b:0"}
    verdict = judge(sent, sent, ["a:1", "a:0", "a:1", "c:0"])
    assert verdict.lost == ["a:2", "b:0"]
    assert verdict.duplicated == ["a:1"]
    assert verdict.unexpected == ["c:0"]
    assert verdict.reordered == ["a:0"]
    assert not verdict.passed
    assert judge(sent, sent - {"b:0"}, ["a:0", "a:1", "a:2"]).passed


async def test_sqlite_holds_through_a_few_kills(tmp_path: Path) -> None:
    _passed(await play(Plan(url=sqlite_url(tmp_path), **SAMPLE), tmp_path), kills=3)


async def test_postgres_holds_through_a_few_kills(tmp_path: Path, postgres_url: str) -> None:
    _passed(await play(Plan(url=postgres_url, **SAMPLE), tmp_path), kills=3)


@pytest.mark.soak
@pytest.mark.timeout(3_000)
async def test_sqlite_holds_through_sixty_kills(tmp_path: Path) -> None:
    _passed(await play(Plan(url=sqlite_url(tmp_path), **SOAK), tmp_path), kills=60)


@pytest.mark.soak
@pytest.mark.timeout(3_000)
async def test_postgres_holds_through_sixty_kills(tmp_path: Path, postgres_url: str) -> None:
    _passed(await play(Plan(url=postgres_url, **SOAK), tmp_path), kills=60)


def _passed(verdict: Verdict, *, kills: int) -> None:
    assert verdict.passed, verdict
    assert verdict.kills + verdict.freezes == kills
    assert verdict.attempted == verdict.acknowledged == verdict.done
