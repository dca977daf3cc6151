"""Variants are told apart alike on SQLite and PostgreSQL."""

from __future__ import annotations

import pytest

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context
from stanchion.core.storage.open import open_database
from stanchion.core.storage.schema import Schema
from stanchion.gateway import Score, Spend, Usage
from stanchion.gateway.comparing.desk import Comparer
from stanchion.gateway.comparing.tables import metadata
from stanchion.gateway.money.ledger import SpendLedger
from stanchion.gateway.money.tables import SCHEMA

CTX = Context("t1", "key:ada")


def spent(clock: SystemClock, number: int, prompt: str, attempt: int = 0, outcome: str = "ok") -> Spend:
    tags = {"prompt": prompt, **({"prompt_unit": f"u{number % 10}"} if number % 2 else {})}
    return Spend(
        id=f"{prompt}-{number}-{attempt}",
        request_id=f"{prompt}-{number}",
        attempt=attempt,
        at=clock.now(),
        team="",
        key=f"key:{number % 8}",
        route="task",
        provider="a",
        model="b",
        price="",
        priced=True,
        usage=Usage(),
        cost=100 + number,
        outcome=outcome,
        tags=tags,
        took=2_000,
    )


@pytest.mark.parametrize("engine", ["memory", "postgres"])
async def test_attempts_units_and_scores_are_joined(engine: str, request: pytest.FixtureRequest) -> None:
    clock = SystemClock()
    database = open_database("memory:" if engine == "memory" else request.getfixturevalue("postgres_url"))
    await database.prepare(SCHEMA)
    await database.prepare(Schema("gateway_scores", metadata))
    ledger = SpendLedger(database)
    await ledger.start()
    comparer = Comparer(database, ledger, clock=clock)
    for number in range(40):
        ledger.add(("t1", spent(clock, number, "a_b@1")))
        ledger.add(("t1", spent(clock, number, "a_b@2")))
        ledger.add(("t2", spent(clock, number, "a_b@3")))
    ledger.add(("t1", spent(clock, 0, "axb@1")))
    ledger.add(("t1", spent(clock, 0, "a_b@1", attempt=1, outcome="failed")))
    ledger.add(("t1", spent(clock, 99, "a_b@2", outcome="failed")))
    assert await comparer.score(CTX, [Score(f"a_b@1-{n}", n) for n in range(10)]) == 10
    found = await comparer.compare(CTX, prompt="a_b")
    assert (found.baseline, [each.name for each in found.variants]) == ("a_b@2", ["a_b@1", "a_b@2"])
    one, two = found.variants
    # Even numbers have the key for a unit, four of them; odd ones what the prompt was assigned to, five of them.
    assert (one.requests, one.units, one.broken, one.scored) == (40, 9, 0, 10)
    assert (two.requests, two.units, two.broken, two.scored) == (41, 9, 1, 0)
    assert one.cost.mean == pytest.approx((sum(100 + n for n in range(40)) + 100) / 40)
    assert one.latency is not None
    assert one.latency.mean == pytest.approx(2 * 41 / 40)
    assert one.score is not None
    assert one.score.mean == 4.5
    assert one.over_cost is not None
    assert one.over_cost.low is not None
    assert one.over_score is two.score is None
    await ledger.stop()
    await database.close()
