"""Killed at any moment, no more is spent than the budget, and no row that was stored is lost or doubled."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context
from stanchion.core.storage.open import open_database, open_keyvalue
from stanchion.gateway.contract.money import BudgetSpec, Limit, Spend
from stanchion.gateway.money.amounts import picodollars
from stanchion.gateway.money.service import MoneyService

from .conftest import SCHEMA
from .crash_child import COST

KILLS = [6, pytest.param(150, marks=pytest.mark.soak)]


class Urls(NamedTuple):
    """Where the children meet, and the dollars that they may spend together: what most of the runs use up."""

    database: str
    limit: str
    keyvalue: str = "memory:"


CHILD = Path(__file__).with_name("crash_child.py")


def run_and_kill(urls: Urls, run: int, chance: random.Random, children: int) -> list[list[str]]:
    """What the children told before they were killed, word by word."""
    started = [
        subprocess.Popen(
            [sys.executable, str(CHILD), urls.database, urls.keyvalue, urls.limit, f"{run}.{i}"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for i in range(children)
    ]
    told: list[str] = []
    for child in started:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n", f"the child did not start in run {run}"
        told += [child.stdout.readline() for _ in range(chance.randrange(0, 60))]
    # No condition is waited for: this is the random moment.
    time.sleep(chance.random() * 0.05)
    for child in started:
        child.kill()
        with child:
            assert child.stdout is not None
            told += child.stdout.readlines()
    # A line that the kill cut off was not told.
    return [line.split() for line in told if line.endswith("\n")]


async def check(urls: Urls, settled: set[str], stored: set[str]) -> None:
    clock = SystemClock()
    database = open_database(urls.database)
    await database.prepare(SCHEMA)
    service = MoneyService(
        database=database,
        keyvalue=open_keyvalue(urls.keyvalue, clock=clock),
        shared="database" if urls.keyvalue == "memory:" else "keyvalue",
        clock=clock,
        budgets=[BudgetSpec("all", limits=(Limit("month", cost=urls.limit),))],
        catalogue=False,
    )
    await service.tidy()
    ctx, now = Context("t1", "key:a"), clock.now()
    start, end = now.date() - timedelta(days=1), now.date() + timedelta(days=1)
    first = datetime(start.year, start.month, start.day, tzinfo=UTC)
    rows: list[Spend] = []
    async for page in service.export_usage(ctx, start=first, end=first + timedelta(days=2), rows=100):
        rows += page.rows
    names = [row.request_id for row in rows]
    assert len(set(names)) == len(names)
    assert stored <= set(names)
    assert all(row.cost == COST for row in rows)
    assert (await service.invoice(ctx, start=start, end=end)).cost == sum(row.cost for row in rows)
    [level] = (await service.budget(ctx, "all")).levels
    # Also what was settled and not yet stored is within the budget: its allowance had been taken before.
    assert len(settled | set(names)) * COST <= level.used <= picodollars(urls.limit, "$")
    await service.stop()
    await database.close()


async def kill_again_and_again(urls: Urls, kills: int, children: int) -> None:
    chance = random.Random(random.randrange(1 << 32))
    settled: set[str] = set()
    stored: set[str] = set()
    for run in range(kills):
        told = run_and_kill(urls, run, chance, children)
        settled |= {words[1] for words in told if words[0] == "settled"}
        for i in range(children):
            marks = [int(words[1]) for words in told if words[0] == "stored"] if children == 1 else []
            last = max(marks, default=0)
            stored |= {n for n in settled if n.startswith(f"{run}.{i}-") and int(n.split("-")[1]) <= last}
        await check(urls, settled, stored)
    assert stored or children > 1
    assert settled


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kills", KILLS)
async def test_kill_9_loses_no_stored_row_and_never_overspends(tmp_path: Path, kills: int) -> None:
    await kill_again_and_again(Urls(f"sqlite://{tmp_path}/state.db", f"{kills * 0.002:.3f}"), kills, children=1)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kills", [2, pytest.param(60, marks=pytest.mark.soak)])
async def test_several_killed_processes_on_one_server_never_overspend(postgres_url: str, kills: int) -> None:
    await kill_again_and_again(Urls(postgres_url, f"{kills * 0.004:.3f}"), kills, children=2)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kills", [2, pytest.param(60, marks=pytest.mark.soak)])
async def test_several_killed_processes_that_count_in_redis_never_overspend(
    tmp_path: Path, redis_url: str, redis_prefix: str, kills: int
) -> None:
    urls = Urls(f"sqlite://{tmp_path}/state.db", f"{kills * 0.004:.3f}", f"{redis_url}?prefix={redis_prefix}")
    await kill_again_and_again(urls, kills, children=2)
